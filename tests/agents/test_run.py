"""Runs in a directory: recorded, repeated, resumed after any kill, refused where damaged."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
    read_manifest,
    write_whole,
)
from m890sim.agents.lines import edits_of
from m890sim.agents.optimize import optimize
from m890sim.kernel import digest
from m890sim.language import parse
from m890sim.session import KernelSession
from tests.agents.toys import CASE, TASK, made, plan

ROOT = Path(__file__).resolve().parents[2]
FILES = (BEST, EVALUATIONS, RESULT, PICTURE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed; not to be changed."""
    path = made(tmp_path_factory.mktemp("runs") / "whole")
    optimize(path)
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in FILES}


def everything(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def cut(finished: Path, path: Path, lines: int, torn: bytes = b"") -> Path:
    """The run as it was after some evaluations, perhaps with a line half written."""
    path.mkdir()
    (path / MANIFEST).write_bytes((finished / MANIFEST).read_bytes())
    whole = (finished / EVALUATIONS).read_bytes().splitlines(keepends=True)
    (path / EVALUATIONS).write_bytes(b"".join(whole[:lines]) + torn)
    return path


def test_run_leaves_its_files(finished: Path) -> None:
    assert {entry.name for entry in finished.iterdir()} == {MANIFEST, *FILES}
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
    assert manifest["task"] == TASK and manifest["agent"] == "evolution"
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


def test_verdicts_of_the_log_are_not_worked_out_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gate(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("the gate ran again")

    path = cut(finished, tmp_path / "run", 12)
    monkeypatch.setattr("m890sim.session.memory.evaluate", gate)
    optimize(path)
    assert contents(path) == contents(finished)


SCRIPT = """
import sys
from pathlib import Path
from m890sim.agents.optimize import optimize
print("ready", flush=True)
optimize(Path(sys.argv[1]), lambda entry, best: print(entry.index, flush=True))
"""


def begin(path: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


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
    assert {entry.name for entry in path.iterdir() if entry.suffix != ".tmp"} == {MANIFEST, *FILES}


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
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    path = cut(finished, tmp_path / "run", 12)
    with monkeypatch.context() as patch:
        patch.setattr("m890sim.agents.optimize.evaluate", interrupt)
        outcome = optimize(path)
    assert outcome.interrupted and outcome.best is not None and outcome.evaluation is None
    assert not optimize(path).interrupted
    assert contents(path) == contents(finished)


def test_best_that_the_last_judge_refuses_gives_way_to_the_next(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import m890sim.agents.optimize as module

    judge, calls = module.evaluate, []

    def suspicious(kernel: object, *rest: object) -> object:
        calls.append(kernel)
        if len(calls) < 3:
            # Wrong on any other kernel's values: here, the expert of another task.
            return judge(wrong_kernel(kernel), *rest)  # type: ignore[arg-type]
        return judge(kernel, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "evaluate", suspicious)
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


# What is refused, and that nothing is lost by it.


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
        ({"format": 2}, "made by another version: format 2, here 1"),
        ({"m890sim": "9.9"}, "made by another version: m890sim '9.9'"),
        ({"timing_version": 99}, "timing_version 99"),
        ({"task": None}, "manifest.json is damaged"),
        ({"cases": [{"case": "none"}]}, "manifest.json is damaged: unknown case"),
        ({"cases": 3}, "manifest.json is damaged"),
        ({"chip": {"name": "m890", "digest": "0"}}, "chip is not as it was"),
        ({"edits": {"count": 1, "digest": "0"}}, "edits is not as it was"),
        ({"agent": "nobody"}, "unknown agent 'nobody'"),
        ({"seed": "x"}, "seed"),
        ({"evaluations": 0}, "evaluations"),
        ({"start": {"name": "x", "digest": "0", "source": "import os"}}, "damaged"),
        ({"verify": "never"}, "verify is not as it was"),
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
    refused(path, "manifest.json is damaged: the start kernel does not have its digest")


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
    text = (path / EVALUATIONS).read_text("utf-8").splitlines(keepends=True)
    line = json.loads(text[5])
    line["cycles"][CASE] += 1
    text[5] = json.dumps(line) + "\n"
    (path / EVALUATIONS).write_text("".join(text))
    refused(path, "evaluation 5 of evaluations.jsonl", "cycles differs")


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
