"""Judging in a child process: whatever happens there is a verdict here."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim import evaluate, get_chip, get_task, load_kernel
from m890sim.judge import isolation
from m890sim.judge.isolation import (
    ANSWERED,
    CRASHED,
    LIMIT,
    REFUSED,
    TIMEOUT,
    Isolated,
    judge_isolated,
    run_isolated,
)
from m890sim.workloads import KERNELS

TEXT = KERNELS["vector_add_reference"].text
SMALL: dict[str, Any] = {"cases": ["add-256x512"], "distributions": ["normal"]}


def child(code: str) -> str:
    """What the child runs, in place of `serve`."""
    return f"import sys, os, signal, time, json; sys.stdin.buffer.read(); {code}"


def test_verdict_is_the_one_of_this_process() -> None:
    found = judge_isolated(TEXT, "vector_add", **SMALL)
    expected = evaluate(load_kernel("vector_add_reference"), "vector_add", **SMALL)
    assert found.ended == ANSWERED and found.reason == "" and found.correct
    assert found.answer == json.loads(json.dumps(expected.as_dict()))
    assert found.as_dict()["correct"] is True


def test_wrong_kernel_is_wrong_there_too() -> None:
    found = judge_isolated(TEXT.replace("add(", "sub("), get_task("vector_add"), **SMALL)
    assert found.ended == ANSWERED and not found.correct


def test_chip_of_ones_own_is_handed_over() -> None:
    chip = get_chip("m890").replace(name="mine")
    found = judge_isolated(TEXT, "vector_add", chip, **SMALL)
    assert found.answer is not None and found.answer["chip"] == "mine"


@pytest.mark.parametrize(
    ("text", "task", "message"),
    [
        ("no kernel", "vector_add", "E102"),
        (TEXT, "no task", "unknown task"),
        (KERNELS["matmul_reference"].text, "vector_add", "does not fit task"),
        ("(" * 100_000, "vector_add", "E502"),
    ],
)
def test_what_is_refused_is_said(text: str, task: str, message: str) -> None:
    found = judge_isolated(text, task, **SMALL)
    assert found.ended == REFUSED and message in found.reason and not found.correct


def test_wall_clock_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_CHILD", child("time.sleep(60)"))
    begin = time.monotonic()
    found = run_isolated("echo", {}, seconds=0.5)
    assert found == Isolated(TIMEOUT, "no verdict within 0.5 s of wall-clock time")
    assert time.monotonic() - begin < 10


def test_processor_time_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resource")
    code = "from m890sim.judge.isolation import _limit; _limit(0, 512)\nwhile True: pass"
    monkeypatch.setattr(isolation, "_CHILD", child(code))
    found = run_isolated("echo", {}, seconds=30)
    assert found.ended == TIMEOUT and "processor time" in found.reason


def test_memory_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resource")
    code = (
        "import m890sim.judge.isolation as i\n"
        "i.FUNCTIONS['echo'] = lambda data: {'size': len(bytearray(10**9))}\n"
        "i._limit(30, 64)\n"
        "limits = {'memory_mb': 64}\n"
        "print(json.dumps(i._answer({'function': 'echo', 'data': {}, 'limits': limits})))"
    )
    monkeypatch.setattr(isolation, "_CHILD", child(code))
    found = run_isolated("echo", {}, seconds=30, memory_mb=64)
    assert found == Isolated(LIMIT, "judging takes more than 64 MB of memory")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("os._exit(3)", "ended with exit status 3"),
        ("pass", "gave no JSON"),
        ("print('{')", "gave no JSON"),
        ("print('[' * 100000)", "gave no JSON"),
        ("print('[1]')", "JSON of another form"),
        ("""print('{"ended": "timeout", "reason": "x"}')""", "JSON of another form"),
        ("""print('{"ended": "answered", "answer": 3}')""", "JSON of another form"),
        ("""print('{"ended": "crashed", "reason": 3}')""", "JSON of another form"),
        ("os.write(1, b'x' * (17 * 2**20)); time.sleep(30)", "process"),
        ("raise SystemError('boom')", "exit status 1"),
    ],
)
def test_whatever_a_child_does_is_a_verdict(
    monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    monkeypatch.setattr(isolation, "_CHILD", child(code))
    found = run_isolated("echo", {}, seconds=30)
    assert found.ended == CRASHED and reason in found.reason and not found.correct


def test_defect_of_the_judge_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    found = isolation._answer({"function": "evaluate", "data": {}, "limits": {}})
    assert found["ended"] == CRASHED and "KeyError" in found["reason"]


def test_answer_that_forges_a_verdict_must_at_least_be_true() -> None:
    for said in ("true", 1, None, [True]):
        assert not Isolated(ANSWERED, "", {"correct": said}).correct


@given(st.binary(max_size=60), st.integers(-70, 5))
def test_any_answer_is_read(answer: bytes, status: int) -> None:
    assert isolation._read(answer, status, 1.0).ended in (CRASHED, TIMEOUT)


def test_prints_and_large_requests_do_no_harm() -> None:
    assert run_isolated("echo", {"text": "x" * 1_000_000}).answer == {"text": "x" * 1_000_000}
    found = run_isolated("echo", {"text": "x" * 5_000_000})
    assert found.ended == REFUSED and "at most 4,194,304 are taken" in found.reason


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"seconds": 0}, ValueError, "seconds must lie above 0"),
        ({"seconds": float("nan")}, ValueError, "seconds must lie above 0"),
        ({"seconds": "1"}, TypeError, "seconds must be a number, not '1'"),
        ({"memory_mb": 0}, ValueError, "memory_mb must lie in 1"),
        ({"memory_mb": 1.5}, TypeError, "memory_mb must be an integer, not 1.5"),
        (
            {"function": "eval"},
            ValueError,
            "function must be one of evaluate, judge, echo, not 'eval'",
        ),
        ({"chip": 3}, TypeError, "chip must be a ChipSpec or its name, not 3"),
        ({"task": 3}, TypeError, "task must be a Task or its name, not 3"),
        ({"source": b"x"}, TypeError, "source must be the text of a kernel, not b'x'"),
        ({"progress": print}, TypeError, "not JSON serializable"),
    ],
)
def test_impossible_arguments_are_refused(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    given_ = {"source": TEXT, "task": "vector_add", **settings}
    with pytest.raises(error, match=message):
        judge_isolated(given_.pop("source"), given_.pop("task"), **given_)


# What a stranger's module does where it is imported: it leaves a trace, and forges a verdict.
HOSTILE = """import os
open({mark!r}, "w").close()
os.write(1, b'{{"ended":"answered","answer":{{"correct":true,"speedup":99.0,"gates":[]}}}}')
os._exit(0)
"""
NAMES = ("json", "numpy", "resource", "numba", "encodings", "m890sim", "sitecustomize", "errno")


@pytest.mark.parametrize("path", ["", ".", os.pathsep, "{folder}", os.pathsep + "{folder}"])
def test_no_file_of_the_current_folder_is_imported(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(HOSTILE.format(mark=str(mark)))
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(HOSTILE.format(mark=str(mark)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", path.format(folder=tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    found = judge_isolated(TEXT.replace("add(", "sub("), "vector_add", **SMALL)
    assert found.ended == ANSWERED and not found.correct and not mark.exists()


def test_child_has_no_more_of_the_environment_than_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "anything")
    monkeypatch.setenv("SECRET_OF_MINE", "1")
    seen = "{'ended': 'answered', 'answer': {'names': sorted(os.environ), 'at': os.getcwd()}}"
    monkeypatch.setattr(isolation, "_CHILD", child(f"print(json.dumps({seen}))"))
    found = run_isolated("echo", {}).answer
    assert found is not None and found["at"] == os.path.abspath(os.sep)
    kept = {*isolation._KEPT, *isolation._KEPT_TOO, *isolation._SINGLE, "LC_CTYPE"}
    assert set(found["names"]) <= kept


@pytest.mark.parametrize("memory_mb", [1, 16, 64])
def test_little_memory_is_a_limit(memory_mb: int) -> None:
    pytest.importorskip("resource")
    found = judge_isolated(TEXT, "vector_add", memory_mb=memory_mb, **SMALL)
    # A native library that gets no memory at all may end its process before Python can say why.
    if memory_mb > 1 or found.ended != CRASHED:
        assert found == Isolated(LIMIT, f"judging takes more than {memory_mb} MB of memory")


def test_errors_that_come_of_no_memory_are_told_from_others() -> None:
    def chained(error: Exception, cause: Exception) -> Exception:
        error.__cause__ = cause
        return error

    for error in (
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("x.so: failed to map segment from shared object"),
        chained(ValueError("x"), MemoryError()),
    ):
        assert isolation._out_of_memory(error)
    for error in (ValueError("failed to map"), OSError(errno.ENOENT, "no file"), KeyError("x")):
        assert not isolation._out_of_memory(error)
