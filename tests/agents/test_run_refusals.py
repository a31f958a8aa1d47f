"""Run directories that are refused, each with its message, and nothing lost by it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from m890sim.agents.chain import CHAIN, first_link, next_link
from m890sim.agents.files import (
    BEST,
    EVALUATIONS,
    MANIFEST,
    PICTURE,
    RESULT,
    Log,
    RunError,
    create,
    free_name,
    read_lines,
    write_whole,
)
from m890sim.agents.optimize import optimize
from m890sim.kernel import print_kernel
from m890sim.language import parse
from m890sim.session import Memory
from m890sim.session.memory import Verdict
from m890sim.workloads import KERNELS, load_kernel
from tests.agents.run_files import begin, contents, cut, everything
from tests.agents.toys import CASE, made, plan


def refused(path: Path, *words: str) -> None:
    before = everything(path) if path.is_dir() else {}
    with pytest.raises(RunError) as caught:
        optimize(path)
    for word in (*words, str(path)):
        assert word in str(caught.value)
    assert (everything(path) if path.is_dir() else {}) == before


def test_no_directory_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none", "does not exist")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "is no directory")


def test_foreign_directory_is_refused(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.mkdir()
    (path / "letters.txt").write_text("dear")
    refused(path, "no run directory", MANIFEST)
    (path / MANIFEST).write_text('{"kind": "other"}')
    refused(path, "no run directory of m890 optimize")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "manifest.json is damaged"),
        (b"\xff\xfe", "manifest.json is damaged"),
        (b"[]", "must hold one JSON object"),
    ],
)
def test_manifest_that_is_not_json_is_refused(
    finished: Path, tmp_path: Path, text: bytes, words: str
) -> None:
    path = cut(finished, tmp_path / "run", 3)
    (path / MANIFEST).write_bytes(text)
    refused(path, words, "nothing was changed")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 1}, "made by another version: format 1, here 2; install that version"),
        ({"format": True}, "made by another version: format True, here 2"),
        ({"m890sim": "9.9"}, "made by another version: m890sim '9.9'"),
        ({"timing_version": 99}, "timing_version 99"),
        ({"task": None}, "manifest.json is damaged"),
        ({"cases": [{"case": "none"}]}, "manifest.json is damaged: unknown case"),
        ({"cases": []}, "a run needs at least one case"),
        ({"hidden": 1001}, "hidden must be at most 100, not 1001"),
        ({"cases": 3}, "manifest.json is damaged"),
        (
            {"chip": {"name": "m890", "digest": "0"}},
            "manifest.json is damaged: 'numbers' is missing",
        ),
        ({"chip": {"digest": "0", "numbers": {"cores": 0}}}, "cores must be at least 1, not 0"),
        ({"chip": {"digest": "0", "numbers": {"name": "mine"}}}, "chip.digest: the record says"),
        (
            {"chip": {"digest": "0", "numbers": {"cores": 4}}},
            "the chip is called 'm890' and has other numbers than that one",
        ),
        ({"edits": {"count": 1, "digest": "0"}}, "edits.count: the record says 1, recomputed"),
        ({"agent": "nobody"}, "unknown agent 'nobody'"),
        ({"seed": "x"}, "seed"),
        ({"evaluations": 0}, "evaluations"),
        ({"start": {"name": "x", "digest": "0", "source": "import os"}}, "damaged"),
        ({"verify": "never"}, "verify: the record says 'never', recomputed 'best'"),
        ({"gate": {"seed": 1}}, "gate.seed: the record says 1, recomputed 0"),
        ({"more": 1}, "more: the record has it, and it should not"),
    ],
)
def test_manifest_that_does_not_hold_is_refused(
    finished: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    path = cut(finished, tmp_path / "run", 3)
    manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    (path / MANIFEST).write_text(json.dumps(manifest | changes))
    refused(path, words)


def test_start_kernel_that_was_changed_is_refused(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 3)
    manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    manifest["start"]["source"] = manifest["start"]["source"].replace("fence()", "", 1)
    (path / MANIFEST).write_text(json.dumps(manifest))
    refused(path, "the start kernel is called 'vector_add_reference' and is not the built-in")


def test_start_kernel_that_does_not_have_its_digest_is_refused(
    finished: Path, tmp_path: Path
) -> None:
    path = cut(finished, tmp_path / "run", 3)
    manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    manifest["start"]["source"] = manifest["start"]["source"].replace(
        "def vector_add", "def my_add"
    )
    (path / MANIFEST).write_text(json.dumps(manifest))
    refused(path, "start.name: the record says 'vector_add_reference', recomputed 'my_add")


def test_expert_under_the_name_of_the_reference_is_refused(tmp_path: Path) -> None:
    expert = print_kernel(load_kernel("vector_add_expert"))
    start = parse(expert.replace("def vector_add_expert", "def vector_add_reference"))
    with pytest.raises(RunError, match="is called 'vector_add_reference' and is not the built-in"):
        dataclasses.replace(plan(), start=start)


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (2, b"{broken", "evaluations.jsonl is damaged in line 3"),
        (0, b"[]", "evaluations.jsonl is damaged in line 1: it must be evaluation 0"),
        (4, b'{"index":9}', "damaged in line 5: it must be evaluation 4"),
        (4, b'{"index":4}', "evaluations.jsonl is damaged"),
    ],
)
def test_damaged_log_is_refused(
    finished: Path, tmp_path: Path, line: int, text: bytes, words: str
) -> None:
    path = cut(finished, tmp_path / "run", 8)
    lines = (path / EVALUATIONS).read_bytes().splitlines()
    lines[line] = text
    (path / EVALUATIONS).write_bytes(b"\n".join(lines) + b"\n")
    refused(path, words, "nothing was changed")


def test_log_that_does_not_repeat_is_refused(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 8)

    def slower(lines: list[dict[str, object]]) -> None:
        lines[5]["cycles"][CASE] += 1  # type: ignore[index]

    rechained(path, slower)
    refused(path, "evaluation 5 of evaluations.jsonl", f"cycles of {CASE}: the record says")


def rechained(path: Path, change: Callable[[list[dict[str, object]]], None]) -> None:
    """Change the log's lines and chain them anew, as a forger would."""
    lines, _ = read_lines(path)
    change(lines)
    value = first_link(json.loads((path / MANIFEST).read_text("utf-8")))
    for line in lines:
        value = line[CHAIN] = next_link(value, line)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (path / EVALUATIONS).write_text(text)


def test_speedups_that_were_changed_are_refused(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 8)

    def tenfold(lines: list[dict[str, object]]) -> None:
        for line in lines:
            for key in ("speedup", "best_speedup"):
                line[key] = 10 * line[key]  # type: ignore[operator]

    rechained(path, tenfold)
    refused(path, "evaluation 0", "speedup: the record says 10.0, recomputed 1.0")


@pytest.mark.parametrize("which", ["start", "middle", "best"])
def test_verdicts_that_a_run_stands_on_are_worked_out_again(
    finished: Path, tmp_path: Path, which: str
) -> None:
    lines, _ = read_lines(finished)
    accepted = [line["index"] for line in lines if line["correct"]]
    index = {"start": 0, "middle": accepted[1], "best": accepted[-1]}[which]
    path = cut(finished, tmp_path / "run", index + 1)

    def wrong(lines: list[dict[str, object]]) -> None:
        best = lines[index - 1]["best_speedup"] if index else 1.0
        lines[index] |= {
            "correct": False,
            "accepted": False,
            "code": "E401",
            "message": "no",
            "best_speedup": best,
        }

    rechained(path, wrong)
    refused(path, f"evaluation {index} of evaluations.jsonl", "the record says ")


def test_best_verdict_that_was_made_right_is_worked_out_again(tmp_path: Path) -> None:
    """The log says of a wrong start kernel that it is right."""
    text = KERNELS["vector_add_reference"].text.replace("add(", "sub(")
    start = parse(text.replace("def vector_add_reference", "def mine"))
    path = tmp_path / "run"
    create(path, dataclasses.replace(plan(), start=start).manifest())
    right = Verdict(True, "", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Memory, "verdict", lambda *_: right)
        patch.setattr("m890sim.agents.optimize._finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            optimize(path)
    assert read_lines(path)[0][0]["correct"] is True
    refused(path, "evaluation 0 of evaluations.jsonl", "the record says True")


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_broken_chain_is_refused(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 8)
    text = (path / EVALUATIONS).read_bytes()
    lines = text.splitlines(keepends=True)
    lines[5] = lines[5].replace(b'"speedup":', b'"speedup":1')
    (path / EVALUATIONS).write_bytes(b"".join(lines))
    refused(path, "evaluation 5 of evaluations.jsonl does not follow", "chain")
    (path / EVALUATIONS).write_bytes(text)
    manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    (path / MANIFEST).write_text(json.dumps(manifest | {"seed": 1}))
    refused(path, "evaluation 0 of evaluations.jsonl does not follow")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"index":4,"index":4}', "the key 'index' is there twice"),
        (b"[" * 100_000, "nested deeper than 24 levels"),
        (b"[" * 30 + b"]" * 30, "nested deeper than 24 levels"),
        (b'{"index":NaN}', "NaN is no number of JSON"),
        (b'{"index":1e999}', "the number 1e999 is too large"),
        (b'{"index":"\\ud800"}', "half of a character"),
        (b'{"index":' + b"9" * 5000 + b"}", "damaged in line 5"),
        (b'"' + b"x" * (1 << 20) + b'"', "1048578 bytes, at most 1048576 are read"),
        (b"\xff\xfe\x00", "damaged in line 5"),
        (b'{"index":4,"more":1}', "a line has no 'more'"),
    ],
)
def test_hostile_line_is_refused(finished: Path, tmp_path: Path, text: bytes, words: str) -> None:
    path = cut(finished, tmp_path / "run", 8)
    lines = (path / EVALUATIONS).read_bytes().splitlines()
    lines[4] = text
    (path / EVALUATIONS).write_bytes(b"\n".join(lines) + b"\n")
    refused(path, words)


def test_files_that_are_none_are_refused(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 8)
    (path / EVALUATIONS).unlink()
    (path / EVALUATIONS).symlink_to("/dev/zero")
    with pytest.raises(RunError, match="it is a symbolic link"):
        optimize(path)
    (path / EVALUATIONS).unlink()
    os.mkfifo(path / EVALUATIONS)
    with pytest.raises(RunError, match="it is no regular file"):
        optimize(path)
    (path / EVALUATIONS).unlink()
    with open(path / EVALUATIONS, "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(RunError, match="has 1099511627776 bytes, at most 33554432 are read"):
        optimize(path)


def test_log_of_too_many_evaluations_and_a_missing_one_are_refused(
    finished: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    create(path, plan(evaluations=4).manifest())
    (path / EVALUATIONS).write_bytes((finished / EVALUATIONS).read_bytes())
    refused(path, "has 12 evaluations of 4")
    (path / EVALUATIONS).unlink()
    refused(path, "evaluations.jsonl is missing")


def test_two_runs_cannot_share_a_directory(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 3)
    log = Log(path, 0)
    refused(path, "is in use by another run")
    log.close()
    assert optimize(path).best is not None


def test_used_directory_is_never_overwritten(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    before = everything(path)
    with pytest.raises(RunError, match="is not empty; go on with --resume"):
        create(path, plan().manifest())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(RunError, match="is not empty; choose another directory with --out"):
        create(tmp_path / "other", plan().manifest())
    (tmp_path / "text").write_text("x")
    with pytest.raises(RunError, match="is no directory; choose another with --out"):
        create(tmp_path / "text", plan().manifest())
    assert everything(path) == before
    assert free_name(path).name == "run-2"
    (tmp_path / "empty").mkdir()
    create(tmp_path / "empty", plan().manifest())
    assert read_lines(tmp_path / "empty") == ([], 0)


def limit_files(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_full_disk_stops_the_run_and_loses_nothing(finished: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    whole = (finished / EVALUATIONS).read_bytes()
    # Room for ten evaluations and a piece of the next one, as on a disk that is full then.
    room = len(b"".join(whole.splitlines(keepends=True)[:10])) + 40
    process = begin(path, limit_files(room))
    _, complaint = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"cannot write {path / EVALUATIONS}: File too large" in complaint
    assert "10 evaluations are saved" in complaint and "--resume" in complaint
    assert str(path / BEST) in complaint
    assert whole.startswith((path / EVALUATIONS).read_bytes())
    assert len(read_lines(path)[0]) == 10 and (path / BEST).exists()
    optimize(path)
    assert contents(path) == contents(finished)


def test_file_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "best.py"
    write_whole(file, b"old")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*best.py: No space left on device"):
        write_whole(file, b"new")
    assert everything(tmp_path) == {"best.py": b"old"}


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who is not root, whom permissions do not stop."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that other users reach; those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_directory_that_cannot_be_written_is_refused(open_path: Path) -> None:
    path = made(open_path / "run")
    shut = open_path / "shut"
    shut.mkdir()
    for file in (path / EVALUATIONS, shut):
        file.chmod(0o555)
    with unprivileged():
        with pytest.raises(RunError, match=r"cannot make .*shut/run: Permission denied"):
            create(shut / "run", plan().manifest())
        with pytest.raises(RunError, match=r"cannot write .*evaluations.jsonl: Permission denied"):
            optimize(path)
    assert list(shut.iterdir()) == []
    assert set(everything(path)) == {MANIFEST, EVALUATIONS}


def test_prepared_temporary_names_are_never_opened(finished: Path, tmp_path: Path) -> None:
    """Links and pipes under the names that earlier versions wrote to before a rename."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    path = cut(finished, tmp_path / "run", 8)
    for name in (BEST, RESULT, PICTURE, MANIFEST):
        (path / f"{name}.tmp").symlink_to(victim)
    optimize(path)
    assert victim.read_bytes() == b"mine" and contents(path) == contents(finished)
    assert not any((path / name).is_symlink() for name in (BEST, RESULT, PICTURE))
    os.mkfifo(path / "other.tmp")
    write_whole(path / "other", b"x")
    assert (path / "other").read_bytes() == b"x"


def test_link_is_replaced_and_not_followed(finished: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    path = cut(finished, tmp_path / "run", 8)
    for name in (BEST, PICTURE):
        (path / name).symlink_to(victim)
    optimize(path)
    assert victim.read_bytes() == b"mine" and contents(path) == contents(finished)


def test_written_files_have_the_permissions_of_any_other(tmp_path: Path) -> None:
    write_whole(tmp_path / "one", b"")
    (tmp_path / "two").write_bytes(b"")
    modes = {entry.name: entry.stat().st_mode for entry in tmp_path.iterdir()}
    assert modes["one"] == modes["two"] and len(modes) == 2


def test_log_with_another_name_elsewhere_is_not_written(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 8)
    os.link(path / EVALUATIONS, tmp_path / "elsewhere")
    refused(path, "cannot write", "it is no file of this directory alone (it has 2 names)")
    (path / EVALUATIONS).unlink()
    os.mkfifo(path / EVALUATIONS)
    with pytest.raises(RunError, match="it is no file of this directory alone"):
        Log(path, 0)
    (path / EVALUATIONS).unlink()
    (path / EVALUATIONS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="cannot write"):
        Log(path, 0)


def test_directory_that_was_there_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tmp_path / f".run.{os.getpid()}.tmp"
    name.mkdir()
    (name / "letter").write_text("dear")
    made(tmp_path / "run")
    assert (name / "letter").read_text() == "dear"
    monkeypatch.setattr("secrets.token_hex", lambda _bytes: "same")
    taken = tmp_path / ".next.same.tmp"
    taken.mkdir()
    (taken / "letter").write_text("dear")
    with pytest.raises(RunError, match="cannot make the run directory"):
        made(tmp_path / "next")
    assert (taken / "letter").read_text() == "dear"


def test_hidden_cases_that_nothing_draws_are_refused_before_the_search() -> None:
    task = dataclasses.replace(plan().task, hidden=None)
    with pytest.raises(RunError, match="has no generator of hidden cases; hidden must be 0, not 2"):
        dataclasses.replace(plan(), task=task)
    assert dataclasses.replace(plan(), task=task, hidden=0).hidden == 0
