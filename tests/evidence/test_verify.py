"""Records that hold are verified; whatever is changed in one is found and named."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m890sim.agents.agent import Agent
from m890sim.agents.files import BEST, EVALUATIONS, MANIFEST, PICTURE, RESULT, create
from m890sim.agents.optimize import optimize
from m890sim.agents.reading import RunError
from m890sim.agents.registry import AGENTS
from m890sim.cli import main
from m890sim.evidence import verify
from m890sim.kernel import print_kernel
from m890sim.language import parse
from m890sim.session import Facade
from m890sim.workloads import load_kernel
from tests.agents.run_files import cut, everything
from tests.agents.test_run_refusals import unprivileged
from tests.agents.toys import CASE, plan
from tests.evidence.forging import changed, places, rechain

Capture = pytest.CaptureFixture[str]
# Who ran the agent, with which seed and how often: nobody can work that out from a log.
FREE = {("python",), ("agent",), ("seed",), ("evaluations",)}


def written(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def outcome_of(path: Path) -> str:
    """Why a record does not hold, or is refused; "" where it is verified."""
    try:
        return verify(path).difference or ""
    except RunError as error:
        return str(error)


def test_run_and_submission_hold(finished: Path, submission: Path) -> None:
    before = everything(finished)
    assert verify(finished).verified and verify(str(submission)).verified
    assert everything(finished) == before


def test_run_is_verified_where_nothing_can_be_written(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "run"
        shutil.copytree(finished, path)
        for file in (*path.iterdir(), path):
            file.chmod(0o555)
        with unprivileged():
            assert not os.access(path, os.W_OK, effective_ids=True)
            assert verify(path).verified
        path.chmod(0o755)


@given(st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_changed_value_of_a_submission_is_found(
    submission: Path, tmp_path: Path, data: st.DataObject
) -> None:
    record = json.loads(submission.read_text("utf-8"))
    place = data.draw(st.sampled_from(list(places(record))))
    again = data.draw(st.booleans())
    forged = changed(record, place)
    free = place[0] == "manifest" and place[1:] in FREE
    if again:
        rechain(forged)
        if place == ("chain",) or place[-1] == "chain":
            return
    if again and free:
        # The result repeats it, and is found by that.
        forged["result"] |= {place[1]: forged["manifest"][place[1]]} if place[1] != "python" else {}
    found = outcome_of(written(tmp_path / "forged.json", forged))
    # A new chain gives another seed of hidden inputs, so that even a free value may change more.
    if not (again and free):
        assert found, place


@pytest.mark.parametrize("name", [MANIFEST, EVALUATIONS, BEST, RESULT])
@given(st.data())
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_changed_value_of_a_run_is_found(
    finished: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    path = tmp_path / "run"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(finished, path)
    text = (path / name).read_text("utf-8")
    if name == BEST:
        number = data.draw(st.integers(0, len(text.splitlines()) - 1))
        lines = text.splitlines()
        lines[number] += " "
        (path / name).write_text("\n".join(lines) + "\n")
    elif name == EVALUATIONS:
        lines = text.splitlines()
        number = data.draw(st.integers(0, len(lines) - 1))
        line = json.loads(lines[number])
        lines[number] = json.dumps(changed(line, data.draw(st.sampled_from(list(places(line))))))
        (path / name).write_text("\n".join(lines) + "\n")
    else:
        found = json.loads(text)
        place = data.draw(st.sampled_from(list(places(found))))
        written(path / name, changed(found, place))
    assert outcome_of(path)


def forged(submission: Path, tmp_path: Path, change: Any) -> str:
    record = json.loads(submission.read_text("utf-8"))
    change(record)
    return outcome_of(written(tmp_path / "forged.json", rechain(record)))


def test_first_difference_is_named(submission: Path, tmp_path: Path) -> None:
    def slower(record: Any) -> None:
        record["log"][5]["cycles"][CASE] += 1000
        record["log"][5]["speedup"] = 77.0
        record["log"][9]["correct"] = True

    found = forged(submission, tmp_path, slower)
    assert found.startswith(f"evaluation 5: cycles of {CASE}: the record says ")
    assert ", recomputed " in found


def test_tenfold_speedups_are_named(submission: Path, tmp_path: Path) -> None:
    def tenfold(record: Any) -> None:
        for line in record["log"]:
            line["speedup"] *= 10
            line["best_speedup"] *= 10
        record["result"]["speedup"] *= 10

    found = forged(submission, tmp_path, tenfold)
    assert found == "evaluation 0: best_speedup: the record says 10.0, recomputed 1.0"


def test_verdicts_are_worked_out_again(submission: Path, tmp_path: Path) -> None:
    record = json.loads(submission.read_text("utf-8"))
    judged = next(line["index"] for line in record["log"][1:] if line["correct"])

    def refuse(record: Any) -> None:
        record["log"][judged] |= {"correct": False, "accepted": False, "code": "wrong"}

    found = forged(submission, tmp_path, refuse)
    assert found.startswith(f"evaluation {judged}: ") and "False" in found


def test_broken_chain_is_named_first(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    lines = (path / EVALUATIONS).read_text("utf-8").splitlines()
    line = json.loads(lines[3])
    line["cycles"][CASE] += 1
    lines[3] = json.dumps(line)
    del lines[7]
    (path / EVALUATIONS).write_text("\n".join(lines[:7]) + "\n")
    assert outcome_of(path).startswith("evaluation 3: its chain does not follow")


def test_expert_as_the_start_is_refused_under_the_references_name(
    submission: Path, tmp_path: Path
) -> None:
    expert = print_kernel(load_kernel("vector_add_expert"))
    source = expert.replace("def vector_add_expert", "def vector_add_reference")

    def replace(record: Any) -> None:
        record["manifest"]["start"] |= {"source": source}

    found = forged(submission, tmp_path, replace)
    assert "is called 'vector_add_reference' and is not the built-in kernel" in found


def test_chip_under_a_presets_name_is_refused(submission: Path, tmp_path: Path) -> None:
    def wider(record: Any) -> None:
        record["manifest"]["chip"]["numbers"]["vector_f32_lanes"] *= 4

    assert "the chip is called 'm890' and has other numbers" in forged(submission, tmp_path, wider)


def test_other_tolerance_and_case_are_found(submission: Path, tmp_path: Path) -> None:
    def loose(record: Any) -> None:
        record["manifest"]["task"]["tolerance"] = 1e9

    def small(record: Any) -> None:
        record["manifest"]["cases"][0]["digest"] = "0" * 64

    assert "task.tolerance: the record says" in forged(submission, tmp_path, loose)
    assert "cases.0.digest: the record says" in forged(submission, tmp_path, small)


def test_kernel_that_is_evaluated_twice_is_found(submission: Path, tmp_path: Path) -> None:
    def twice(record: Any) -> None:
        record["log"][7] = record["log"][6] | {"index": 7}

    found = forged(submission, tmp_path, twice)
    assert found == "evaluation 7: its kernel is that of evaluation 6, which costs nothing again"


def test_edits_that_do_not_apply_are_found(submission: Path, tmp_path: Path) -> None:
    def elsewhere(record: Any) -> None:
        record["log"][2]["edits"] = [{"name": "unroll", "site": [99], "argument": None}]

    def nonsense(record: Any) -> None:
        record["log"][2]["edits"] = [3]

    for change in (elsewhere, nonsense):
        found = forged(submission, tmp_path, change)
        assert found.startswith("evaluation 2: its kernel cannot be made: ")


@pytest.mark.parametrize("lines", [0, 1, 7, 12])
def test_killed_run_is_verified_as_far_as_it_goes(
    finished: Path, tmp_path: Path, lines: int
) -> None:
    path = cut(finished, tmp_path / "run", lines, b'{"index":9')
    assert "best.py" in outcome_of(path) if lines > 1 else verify(path).verified
    if lines == 12:
        shutil.copy(finished / BEST, path / BEST)
        assert verify(path).verified


class Stranger(Agent):
    """An agent that nobody else has."""

    name = "stranger"
    text = "takes the first edits"

    def search(self, session: Facade, seed: int) -> None:
        for _ in range(6):
            session.apply(session.legal_edits()[seed])
            session.evaluate()


def test_run_of_an_unknown_agent_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    create(path, dataclasses.replace(plan(), agent="stranger").manifest())
    with monkeypatch.context() as patch:
        patch.setitem(AGENTS, "stranger", Stranger())
        optimize(path)
    assert verify(path).verified
    with pytest.raises(RunError, match="unknown agent 'stranger'"):
        optimize(path)


def test_lines_may_hold_sources(submission: Path, tmp_path: Path) -> None:
    from m890sim.agents.lines import Lines
    from m890sim.agents.outcome import best_text, finish
    from m890sim.agents.plan import gate_settings
    from m890sim.session import KernelSession

    made = dataclasses.replace(plan(), agent="writer")
    session = KernelSession(
        made.task, made.cases, made.chip, start=made.start, budget=12, **gate_settings()
    )
    lines = Lines()
    log = [lines.line(session.evaluate())]
    texts = [print_kernel(load_kernel("vector_add_expert"))]
    kernels = [made.start, parse(texts[0])]
    session.load(kernels[1])
    log.append(lines.line(session.evaluate(), texts[0]))
    record: dict[str, Any] = {
        "kind": "m890sim submission",
        "format": 2,
        "manifest": made.manifest(),
        "log": log,
        "result": {"chain": ""},
        "chain": "",
    }
    rechain(record)
    outcome = finish(
        made,
        tmp_path,
        session.log,
        session.best,
        lambda entry: kernels[entry.index],
        record["chain"],
        False,
    )
    assert outcome.best is not None and outcome.best.index == 1
    record["result"] = outcome.as_dict()
    record["best"] = best_text(made, outcome.best, kernels[1])
    path = written(tmp_path / "written.json", record)
    assert verify(path).difference is None
    record["log"][1]["source"] = texts[0].replace("add(", "sub(")
    assert outcome_of(written(path, rechain(record))).startswith("evaluation 1: digest: ")
    record["log"][1]["source"] = "import os"
    found = outcome_of(written(path, rechain(record)))
    assert found.startswith("evaluation 1: its kernel cannot be made: <source>:1:")


def test_false_record_is_not_verified_and_an_unreadable_one_refused(
    submission: Path, tmp_path: Path, capsys: Capture
) -> None:
    expert = print_kernel(load_kernel("vector_add_expert"))

    def start(record: Any) -> None:
        source = expert.replace("def vector_add_expert", "def vector_add_reference")
        record["manifest"]["start"] |= {"source": source}

    def chip(record: Any) -> None:
        record["manifest"]["chip"]["numbers"]["vector_f32_lanes"] *= 4

    def digest(record: Any) -> None:
        record["manifest"]["start"]["digest"] = "0" * 64

    def no_chip(record: Any) -> None:
        record["manifest"]["chip"]["numbers"]["cores"] = "many"

    def no_start(record: Any) -> None:
        record["manifest"]["start"]["source"] = "import os"

    for change, status in ((start, 1), (chip, 1), (digest, 1), (no_chip, 2), (no_start, 2)):
        record = json.loads(submission.read_text("utf-8"))
        change(record)
        file = written(tmp_path / "forged.json", rechain(record))
        assert main(["verify", str(file)]) == status
        captured = capsys.readouterr()
        assert ("NOT verified: " in captured.out) == (status == 1)
        assert ("is damaged: " in captured.err) == (status == 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is damaged"),
        (b"[]", "must hold one JSON object"),
        (b"{}", "is no submission of m890 submit"),
        (b"[" * 200_000, "nested deeper than 24 levels"),
        (b'{"kind": NaN}', "NaN is no number"),
        (b"\xff\xfe\x00\x01", "is damaged"),
        (b'{"kind": "m890sim submission"}', "made by another version: format None, here 2"),
        (b'{"kind": "m890sim submission", "format": 2}', "it has no 'manifest'"),
        (b'{"kind": "m890sim submission", "format": 2, "x": 1}', "it must not have 'x'"),
    ],
)
def test_damaged_submission_is_refused(
    tmp_path: Path, capsys: Capture, text: bytes, words: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(text)
    assert main(["verify", str(file)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == ""


def test_hostile_files_are_refused(tmp_path: Path, capsys: Capture) -> None:
    huge, link, pipe = tmp_path / "huge.json", tmp_path / "link.json", tmp_path / "pipe.json"
    with open(huge, "wb") as stream:
        stream.truncate(1 << 40)
    link.symlink_to("/dev/zero")
    os.mkfifo(pipe)
    for file, words in ((huge, "at most"), (link, "symbolic link"), (pipe, "no regular file")):
        assert main(["verify", str(file)]) == 2
        assert words in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_command_says_what_holds(
    finished: Path, submission: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["verify", str(finished)]) == 0
    assert "verified, everything comes out as recorded" in capsys.readouterr().out
    assert main(["verify", str(submission), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "verified": True,
        "difference": None,
        "judged": True,
    }
    record = json.loads(submission.read_text("utf-8"))
    record["result"]["speedup"] = 57.77
    file = written(tmp_path / "forged.json", record)
    assert main(["verify", str(file)]) == 1
    assert "NOT verified: result: speedup: the record says 57.77" in capsys.readouterr().out
    assert main(["verify", str(file), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verified"] is False


def test_picture_is_no_evidence(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    (path / PICTURE).write_bytes(b"anything")
    assert verify(path).verified
