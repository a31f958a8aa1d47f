"""Runs in a directory: recorded, repeated, resumed after any kill and any interrupt."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from m890sim.agents.files import (
    BEST,
    EVALUATIONS,
    MANIFEST,
    PICTURE,
    RESULT,
    TIMES,
    read_lines,
    read_manifest,
)
from m890sim.agents.lines import edits_of
from m890sim.agents.optimize import optimize
from m890sim.kernel import digest
from m890sim.language import parse
from m890sim.session import KernelSession, Memory
from m890sim.session.memory import GateSettings, Space, State
from m890sim.session.records import Verdict
from tests.agents.run_files import FILES, begin, contents, cut, everything
from tests.agents.toys import CASE, TASK, made


def test_run_leaves_its_files(finished: Path) -> None:
    assert {entry.name for entry in finished.iterdir()} == {MANIFEST, TIMES, *FILES}
    lines, whole = read_lines(finished)
    assert len(lines) == 12 and whole == (finished / EVALUATIONS).stat().st_size
    assert lines[0]["edits"] == [] and lines[0]["parent"] is None
    result = json.loads((finished / RESULT).read_text("utf-8"))
    assert result["evaluation"]["correct"] and not result["interrupted"]
    assert result["speedup"] == result["evaluation"]["speedup"] == lines[-1]["best_speedup"]
    assert (finished / PICTURE).read_bytes().startswith(b"\x89PNG")
    best = parse((finished / BEST).read_text("utf-8"))
    assert digest(best) == result["best"]["digest"]


def test_lines_say_how_each_kernel_was_made(finished: Path) -> None:
    lines, _ = read_lines(finished)
    session = KernelSession(TASK, CASE)
    for line in lines:
        session.restart()
        for edit in edits_of(lines, line["index"]):
            session.apply(edit)
        assert session.digest == line["digest"]


def test_manifest_says_what_the_run_follows_from(finished: Path) -> None:
    manifest = read_manifest(finished)
    assert manifest["task"]["name"] == TASK and manifest["agent"] == "evolution"
    assert (manifest["seed"], manifest["evaluations"]) == (0, 12)
    assert [entry["case"] for entry in manifest["cases"]] == [CASE]
    for key in ("m890sim", "timing_version", "python", "chip", "gate", "edits", "reference"):
        assert manifest[key]
    assert digest(parse(manifest["start"]["source"])) == manifest["start"]["digest"]


def test_same_plan_gives_the_same_files(finished: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "again")
    optimize(path)
    assert contents(path) == contents(finished)


@pytest.mark.parametrize(
    ("lines", "torn"), [(0, b""), (0, b'{"ind'), (5, b""), (7, b'{"index":7,'), (12, b"")]
)
def test_resumed_run_ends_like_an_undisturbed_one(
    finished: Path, tmp_path: Path, lines: int, torn: bytes
) -> None:
    path = cut(finished, tmp_path / "run", lines, torn)
    optimize(path)
    assert contents(path) == contents(finished)


def test_finished_run_can_be_resumed_and_stays_the_same(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 12)
    for name in FILES:
        (path / name).write_bytes((finished / name).read_bytes())
    optimize(path)
    assert contents(path) == contents(finished)


def test_verdicts_on_start_and_best_and_all_refusals_are_worked_out_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    judge = Memory._judge

    def counted(memory: Memory, space: Space, state: State, gate: GateSettings) -> Verdict:
        judged.append(state.digest)
        return judge(memory, space, state, gate)

    path = cut(finished, tmp_path / "run", 12)
    monkeypatch.setattr(Memory, "_judge", counted)
    optimize(path)
    assert contents(path) == contents(finished)
    lines, _ = read_lines(path)
    right = [line["digest"] for line in lines if line["correct"]]
    assert len(right) > 2
    refused = [line["digest"] for line in lines if line["correct"] is False]
    assert judged == [lines[0]["digest"], *refused, right[-1]]


@pytest.mark.parametrize("after", [0, 4, 11])
def test_killed_run_resumes_to_the_same_result(finished: Path, tmp_path: Path, after: int) -> None:
    path = made(tmp_path / "run")
    process = begin(path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == str(after):
            break
    time.sleep(0.01 * after)  # into the next evaluation, or into the end
    process.send_signal(signal.SIGKILL)
    process.wait()
    optimize(path)
    assert contents(path) == contents(finished)
    assert {entry.name for entry in path.iterdir() if entry.suffix != ".tmp"} == {
        MANIFEST,
        TIMES,
        *FILES,
    }


def test_interrupt_ends_cleanly_and_can_be_resumed(finished: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "run")

    def told(entry: object, best: float) -> None:
        if entry.index == 6:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    outcome = optimize(path, told)
    assert outcome.interrupted and len(outcome.log) == 7
    assert json.loads((path / RESULT).read_text("utf-8"))["interrupted"]
    assert outcome.best is not None and (path / BEST).exists() and (path / PICTURE).exists()
    assert not optimize(path).interrupted
    assert contents(path) == contents(finished)


def test_interrupt_while_repeating_changes_nothing(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished, path)

    def told(entry: object, best: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize(path, told)
    assert everything(path) == everything(finished)


def test_interrupt_of_the_last_judgement_ends_cleanly(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    path = cut(finished, tmp_path / "run", 12)
    with monkeypatch.context() as patch:
        patch.setattr("m890sim.agents.outcome.judge_kernel", interrupt)
        outcome = optimize(path)
    assert outcome.interrupted and outcome.best is not None and outcome.evaluation is None
    assert not optimize(path).interrupted
    assert contents(path) == contents(finished)


def test_best_that_the_last_judge_refuses_gives_way_to_the_next(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import m890sim.agents.outcome as module

    judge, calls = module.judge_kernel, []

    def suspicious(kernel: object, *rest: object, **settings: object) -> object:
        calls.append(kernel)
        if len(calls) < 3:
            # Wrong on any other kernel's values: here, with another sign.
            return judge(wrong_kernel(kernel), *rest, **settings)  # type: ignore[arg-type]
        return judge(kernel, *rest, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "judge_kernel", suspicious)
    path = cut(finished, tmp_path / "run", 12)
    outcome = optimize(path)
    assert len(outcome.rejected) == 2 and outcome.best is not None
    assert outcome.rejected[0][0] != outcome.best.index
    assert outcome.evaluation is not None and outcome.evaluation.correct
    best = parse((path / BEST).read_text("utf-8"))
    assert digest(best) == outcome.best.digest != read_result(finished)["best"]["digest"]
    assert [entry["index"] for entry in read_result(path)["rejected"]] == [
        index for index, _ in outcome.rejected
    ]


def wrong_kernel(kernel: object) -> object:
    """The kernel with its addition made a subtraction."""
    from m890sim.kernel import print_kernel

    return parse(print_kernel(kernel).replace("add(", "sub("))  # type: ignore[arg-type]


def read_result(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((path / RESULT).read_text("utf-8"))
    return found
