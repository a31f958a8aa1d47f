"""What one record can ask of whoever verifies it, and boards that one record cannot stop."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.agents.reading import RunError
from m890sim.cli import main, show
from m890sim.errors import M890Error
from m890sim.evidence import leaderboard as board
from m890sim.evidence import scoring, verification, verify
from m890sim.evidence.leaderboard import leaderboard
from m890sim.evidence.scoring import score, score_apart
from tests.evidence.forging import rechain

Capture = pytest.CaptureFixture[str]


def forged(submission: Path, out: Path, change: Any, again: bool = True) -> Path:
    """A submission with a change, chained anew."""
    record = json.loads(submission.read_text("utf-8"))
    change(record)
    out.write_text(json.dumps(rechain(record) if again else record))
    return out


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The final judgement, which takes the most, must not be come to."""
    monkeypatch.setattr(verification, "finish", lambda *_, **__: pytest.fail("judged"))


def test_more_hidden_cases_than_a_run_may_have_are_refused(
    submission: Path, tmp_path: Path
) -> None:
    def many(record: Any) -> None:
        record["manifest"]["hidden"] = 1000

    begin = time.process_time()
    with pytest.raises(RunError, match="hidden must be at most 100, not 1000"):
        verify(forged(submission, tmp_path / "x.json", many))
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("chain", "0" * 64, "result: chain: the record says '000"),
        ("spent", 11, "result: spent: the record says 11, recomputed 12"),
        ("seed", 7, "result: seed: the record says 7, recomputed 0"),
        ("agent", "other", "result: agent: the record says 'other'"),
        ("chip", "other", "result: chip: the record says 'other'"),
        ("best", {"digest": "0" * 64, "index": 0}, "result: best.digest: the record says '000"),
        ("best", {"digest": "0" * 64, "index": 12}, "result: best.index: the log has no evalua"),
        ("best", {"digest": "0" * 64, "index": True}, "result: best.index: the log has no evalu"),
        ("best", None, "result: best: "),
        ("rejected", None, "result: rejected: the record says None, which cannot be"),
        ("rejected", [{"index": 0}], "result: rejected.0: the record says 0, recomputed"),
        ("rejected", [0] * 99, "result: rejected: the record says [0, "),
    ],
)
def test_result_of_another_log_is_named_before_anything_is_judged(
    submission: Path, tmp_path: Path, unjudged: None, key: str, value: Any, words: str
) -> None:
    def stale(record: Any) -> None:
        record["result"][key] = value

    file = forged(submission, tmp_path / "x.json", stale, again=False)
    found = verify(file).difference
    assert found is not None and found.startswith(words)


def test_another_best_kernel_is_named_before_anything_is_judged(
    submission: Path, tmp_path: Path, unjudged: None
) -> None:
    def exchanged(record: Any) -> None:
        line = record["log"][0]
        record["result"]["best"] |= {"index": 0, "digest": line["digest"], "cycles": line["cycles"]}

    def text(record: Any) -> None:
        record["best"] += "#\n"

    found = verify(forged(submission, tmp_path / "x.json", exchanged, again=False)).difference
    assert found is not None and found.startswith("result: best: the record says 0, recomputed")
    found = verify(forged(submission, tmp_path / "x.json", text, again=False)).difference
    assert found == "best.py: it is not the kernel that the result names"


def test_run_that_was_never_judged_is_no_submission(
    finished: Path, submission: Path, tmp_path: Path, capsys: Capture
) -> None:
    def unfinished(record: Any) -> None:
        record["result"] |= {
            "interrupted": True,
            "evaluation": None,
            "gates": None,
            "hidden": None,
            "coverage": None,
        }

    (tmp_path / "folder").mkdir()
    file = forged(submission, tmp_path / "folder" / "x.json", unfinished)
    with pytest.raises(RunError, match="was interrupted before its best kernel was judged; finish"):
        verify(file)
    assert main(["leaderboard", str(tmp_path / "folder"), "--hidden", "1", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["tables"] == [] and "was interrupted" in found["rejected"][0]["reason"]
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    record = json.loads(file.read_text("utf-8"))
    (path / "result.json").write_text(json.dumps(record["result"]))
    assert verify(path).as_dict() == {"verified": True, "difference": None, "judged": False}
    assert main(["verify", str(path)]) == 0
    assert "its best kernel was not judged" in capsys.readouterr().out
    assert main(["submit", str(path)]) == 2
    assert "has not ended; go on with m890 optimize --resume" in capsys.readouterr().err


def test_scoring_apart_gives_what_scoring_here_gives(submission: Path, tmp_path: Path) -> None:
    assert score_apart(submission, 2, 5, 120) == score(submission, 2, 5)
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    with pytest.raises(M890Error) as here:
        score(bad, 2, 5)
    with pytest.raises(RunError) as apart:
        score_apart(bad, 2, 5, 120)
    assert str(here.value) == str(apart.value)


def test_submission_that_takes_too_long_is_not_taken(submission: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(submission, folder)
    found = leaderboard(folder, 1000, 1, seconds=0.5)
    ((file, reason),) = found.rejected
    assert file == submission.name and "not worked out: no verdict within 0.5 s" in reason


def test_directory_among_submissions_is_not_read(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copytree(finished, folder / "run.json")
    ((file, reason),) = leaderboard(folder, 0, 1).rejected
    assert file == "run.json" and "cannot read" in reason


def test_record_is_read_once(
    submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is exchanged after it was verified is not what is scored."""
    read, times = scoring.read_submission, []

    def once(path: Path) -> Any:
        times.append(path)
        found = read(path)
        path.write_text("{}")
        return found

    file = tmp_path / "x.json"
    shutil.copy(submission, file)
    monkeypatch.setattr(scoring, "read_submission", once)
    assert score(file, 0, 1).agent == "evolution" and times == [file]


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, MemoryError, RecursionError])
def test_one_submission_does_not_stop_the_board(
    error: type[Exception], submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(file: Path, *rest: Any) -> Any:
        if file.name == "a.json":
            raise error("no")
        return score(file, *rest)

    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.json", "b.json"):
        shutil.copy(submission, folder / name)
    monkeypatch.setattr(board, "score", failing)
    found = leaderboard(folder, 0, 1)
    assert [file for file, _ in found.rejected] == ["a.json"] and len(found.tables) == 1


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ((-1, 0), ValueError),
        ((1001, 0), ValueError),
        ((0, 2**63), ValueError),
        ((0, "1"), TypeError),
    ],
)
def test_numbers_of_a_board_are_refused_before_anything_is_judged(
    numbers: Any, error: type[Exception], submission: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "score", lambda *_: pytest.fail("judged"))
    with pytest.raises(error):
        leaderboard(submission.parent, *numbers)


def test_same_run_under_another_name_counts_once(submission: Path, tmp_path: Path) -> None:
    def reseeded(record: Any) -> None:
        record["manifest"]["seed"] += 1

    def cut(record: Any) -> None:
        record["manifest"]["agent"] = "mine"
        del record["log"][-1]

    first = score(submission, 0, 1)
    for number, change in enumerate((reseeded, cut)):
        record = json.loads(
            forged(submission, tmp_path / f"{number}.json", change).read_text("utf-8")
        )
        kernels = {line["digest"] for line in record["log"][1:]}
        other = scoring.Scored(
            "other.json",
            *(getattr(first, name) for name in ("task", "task_digest", "chip", "chip_digest")),
            record["manifest"]["agent"],
            first.start,
            first.start_digest,
            12,
            9.0,
            9.0,
            tuple(sorted(kernels)),
        )
        assert board._like(other, [first]) is first


def test_runs_of_other_kernels_are_others(submission: Path) -> None:
    import dataclasses

    first = score(submission, 0, 1)
    half = first.kernels[: len(first.kernels) // 2]
    more = tuple(f"{number:064d}" for number in range(len(first.kernels) - len(half)))
    other = dataclasses.replace(first, kernels=tuple(sorted((*half, *more))))
    assert board._like(other, [first]) is None
    assert board._like(dataclasses.replace(first, chip_digest="x"), [first]) is None
    empty = dataclasses.replace(first, kernels=())
    assert board._like(empty, [first]) is None and board._like(empty, [empty]) is empty


def test_names_of_strangers_do_nothing_to_a_terminal(
    submission: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def key(record: Any) -> None:
        record["result"]["\x1b[2J\x07"] = 1

    file = forged(submission, folder / "\x1b[31m.json", key)
    (folder / "\x1b]0;x\x07.json").write_text('{"kind": "\x1b"}')
    assert main(["verify", str(file)]) == 1
    assert main(["verify", str(folder / "\x1b[0m.json")]) == 2
    assert main(["leaderboard", str(folder), "--hidden", "0"]) == 1
    shutil.copy(submission, folder / "\x1b[1m.json")
    assert main(["verify", str(folder / "\x1b[1m.json")]) == 0
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert "\\x1b" in text and not {"\x1b", "\x07"} & set(text)


@given(st.text())
def test_harmless_text_is_printable_and_keeps_what_was(text: str) -> None:
    found = show.harmless(text)
    assert all(sign.isprintable() for sign in found.replace("\n", ""))
    assert found == text or not text.replace("\n", "").isprintable()
