"""A session in a directory: killed and resumed at any place, shared by nobody, verified."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from m890sim.agents.chain import CHAIN, first_link, next_link
from m890sim.agents.files import EVALUATIONS, MANIFEST, RESULT
from m890sim.agents.optimize import optimize
from m890sim.agents.reading import RunError
from m890sim.evidence import submit, verify
from m890sim.protocol import Recording
from m890sim.protocol.log import CALLS
from tests.protocol.players import FASTER, WRONG, play, recording


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session that was played to its end; not to be changed."""
    path = tmp_path_factory.mktemp("protocol") / "run"
    served = recording(path)
    play(served)
    served.call("submit", {"evaluation": 2})
    served.finish()
    served.close()
    return path


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def lines_of(path: Path, name: str) -> list[dict[str, Any]]:
    """The whole lines of a log."""
    return [json.loads(line) for line in (path / name).read_text().split("\n")[:-1]]


def test_a_finished_session_verifies_and_says_how_it_ended(finished: Path) -> None:
    assert verify(finished).as_dict() == {"verified": True, "difference": None, "judged": True}
    result = json.loads((finished / RESULT).read_text())
    assert result["session"] == {
        "submitted": 2,
        "ended": "submitted",
        "calls": 15,
        "chain": lines_of(finished, CALLS)[-1][CHAIN],
    }
    assert result["best"]["index"] == 2 and result["hidden"]["cases"] == 2
    assert (finished / "speedup.png").read_bytes().startswith(b"\x89PNG")


def test_a_submission_of_it_verifies(finished: Path, tmp_path: Path) -> None:
    submit(finished, tmp_path / "run.json")
    assert verify(tmp_path / "run.json").verified


def test_it_can_be_killed_after_any_byte_and_goes_on(finished: Path, tmp_path: Path) -> None:
    whole = (finished / CALLS).read_bytes()
    for size in (0, len(whole) // 2, len(whole) - 1):
        path = Path(shutil.copytree(finished, tmp_path / str(size)))
        (path / RESULT).unlink()
        (path / CALLS).write_bytes(whole[:size])
        served = Recording(path)
        kept = whole[:size].count(b"\n")
        calls = lines_of(path, CALLS)
        # Evaluations whose call was lost are taken up by one line of their own.
        lost = len(lines_of(path, EVALUATIONS)) > (calls[kept - 1]["spent"] if kept else 1)
        assert len(calls) == kept + lost
        assert len(served.session.log) == len(lines_of(path, EVALUATIONS))
        assert served.call("submit", {"evaluation": 2}).ok
        served.finish()
        served.close()
        assert verify(path).verified


def test_a_session_in_parts_is_the_session_at_once(finished: Path, tmp_path: Path) -> None:
    class Parts:
        """Each call in a recording of its own."""

        def call(self, tool: str, arguments: Any = None) -> None:
            served = Recording(tmp_path / "run")
            served.call(tool, arguments)
            served.close()

        def turn(self) -> None:
            served = Recording(tmp_path / "run")
            served.turn()
            served.close()

    recording(tmp_path / "run").close()
    play(Parts())
    Parts().call("submit", {"evaluation": 2})
    for name in (EVALUATIONS, CALLS):
        ours, theirs = lines_of(tmp_path / "run", name), lines_of(finished, name)
        for line in (*ours, *theirs):
            line.pop("seconds", None)
            line.pop(CHAIN)
        assert ours == theirs


def test_one_at_a_time_has_a_directory(copy: Path) -> None:
    served = Recording(copy)
    with pytest.raises(RunError, match="is in use by another run"):
        Recording(copy)
    served.close()
    Recording(copy).close()


def test_threads_call_one_after_the_other(tmp_path: Path) -> None:
    served = recording(tmp_path / "run")
    threads = [
        threading.Thread(target=served.call, args=("test", {"replace": change, "base": 0}))
        for change in (FASTER, WRONG, FASTER, WRONG)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served.close()
    assert [line["index"] for line in lines_of(tmp_path / "run", CALLS)] == [0, 1, 2, 3]
    assert len(lines_of(tmp_path / "run", EVALUATIONS)) == 3
    assert verify(tmp_path / "run").verified


def test_the_time_is_that_of_all_parts(tmp_path: Path) -> None:
    times = iter([0.0, 4.0, 4.0])
    served = recording(tmp_path / "run", terms={"seconds": 5}, clock=lambda: next(times))
    assert served.call("status").ok
    served.close()
    times = iter([100.0, 102.0, 102.0])
    served = Recording(tmp_path / "run", clock=lambda: next(times))
    assert served.call("status").ended == "its 5 seconds are over"
    served.close()
    assert verify(tmp_path / "run").verified


def test_a_disk_that_fills_leaves_whole_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = recording(tmp_path / "run")
    served.call("test", {"replace": FASTER})
    import os

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunError, match="No space left on device"):
            served.call("status")
    served.close()
    again = Recording(tmp_path / "run")
    assert again.call("submit").ok
    again.finish()
    again.close()
    assert verify(tmp_path / "run").verified


def forged(path: Path, name: str, number: int, **changes: Any) -> None:
    """Change a line, and make the chain anew behind it."""
    manifest = json.loads((path / MANIFEST).read_text())
    value, text = first_link(manifest), ""
    for line in lines_of(path, name):
        if line["index"] == number:
            line |= changes
        value = line[CHAIN] = next_link(value, line)
        text += json.dumps(line, separators=(",", ":")) + "\n"
    (path / name).write_text(text)


@pytest.mark.parametrize(
    ("number", "changes", "said"),
    [
        (4, {"ok": True}, "call 4 (test): ok"),
        (8, {"answer": "0" * 64}, "call 8 ((no tool)): answer"),
        (9, {"arguments": {"replace": WRONG, "base": 0}}, "call 9 (test): "),
        (9, {"tool": "check"}, "call 9 (check): "),
        (9, {"spent": 2}, "call 9 (test): spent"),
        (14, {"arguments": {"evaluation": 0}}, "call 14 (submit): answer"),
        (12, {"late": True}, "call 12 (diff): "),
        (0, {"tool": "(interrupted)", "arguments": {"evaluations": 3}}, "call 0 ((interrupted))"),
        (0, {"tool": "(interrupted)", "arguments": "x"}, "must say its evaluations"),
    ],
)
def test_forged_calls_are_named(
    copy: Path, number: int, changes: dict[str, Any], said: str
) -> None:
    forged(copy, CALLS, number, **changes)
    found = verify(copy).difference
    assert found is not None and said in found


def test_a_call_that_is_left_out_is_named(copy: Path) -> None:
    lines = (copy / CALLS).read_text().splitlines(keepends=True)
    (copy / CALLS).write_text("".join(lines[:-1]))
    found = verify(copy).difference
    assert found is not None and "result" in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}\n", "damaged in line 1: it must be call 0"),
        ("[1]\n", "damaged in line 1: it must be call 0"),
        ("x\n", "damaged in line 1"),
        ('{"index": 0}\n', "it has no 'tool'"),
        ('{"index": 0, "x": 1}\n', "a call has no 'x'"),
    ],
)
def test_damaged_logs_of_calls_are_refused(copy: Path, text: str, said: str) -> None:
    (copy / CALLS).write_text(text)
    for read in (Recording, verify):
        with pytest.raises(RunError, match="calls.jsonl") as caught:
            read(copy)
        assert said in str(caught.value)


def test_other_runs_are_told_apart(copy: Path, tmp_path: Path) -> None:
    from tests.agents.toys import made

    with pytest.raises(RunError, match="the session of an agent that writes source"):
        optimize(copy)
    with pytest.raises(RunError, match="is a run of m890 optimize"):
        Recording(made(tmp_path / "other"))
    with pytest.raises(RunError, match="is not empty"):
        recording(copy)


def test_a_wrong_submission_counts_as_the_reference(tmp_path: Path) -> None:
    served = recording(tmp_path / "run")
    served.call("test", {"replace": FASTER})
    served.call("test", {"replace": WRONG, "base": 0})
    served.call("submit", {"evaluation": 2})
    outcome = served.finish()
    served.close()
    assert outcome.speedup == 1.0 and outcome.best is outcome.log[0]
    assert [index for index, _ in outcome.rejected] == [2]
    assert verify(tmp_path / "run").verified
