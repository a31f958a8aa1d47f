"""Run directories that are refused, each with its message, and nothing lost by it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from m890sim.agents.files import (
    BEST,
    EVALUATIONS,
    MANIFEST,
    Log,
    RunError,
    create,
    free_name,
    read_lines,
    write_whole,
)
from m890sim.agents.optimize import optimize
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
