"""Options of sessions, and `m890 finish`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pytest

from m890sim.agents import terms
from m890sim.cli import main, sessions
from m890sim.errors import M890Error
from m890sim.protocol import Recording, unfamiliar_chip

SMALL = ["--task", "vector_add", "--hidden", "2"]


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    sessions.add_session_options(parser)
    return parser.parse_args(given)


def test_options_name_the_limits_of_terms() -> None:
    defaults = terms.Terms()
    assert (terms.DOCS, defaults.calls) == (sessions.DOCS, sessions.CALLS)
    assert defaults.source == sessions.SOURCE
    assert sessions.MOST_CALLS == terms.MOST_CALLS
    assert sessions.MOST_SECONDS == terms.MOST_SECONDS
    assert sessions.MOST_SOURCE == terms.MOST_SOURCE


def test_chip_is_an_unfamiliar_one_by_the_seed(tmp_path: Path) -> None:
    plan = sessions.plan_of_options(options(*SMALL, "--seed", "11"), "tester")
    assert plan.chip == unfamiliar_chip(11)
    assert (plan.agent, plan.seed, plan.hidden, plan.evaluations) == ("tester", 11, 2, 432)
    assert plan.terms == terms.Terms()


def test_every_option_comes_to_the_plan() -> None:
    given = [*SMALL, "--docs", "full", "--chip", "m890-mini", "--evaluations", "9", "--calls", "20"]
    given += ["--seconds", "60", "--source", "5000", "--patience", "4"]
    plan = sessions.plan_of_options(options(*given), "tester")
    assert plan.terms == terms.Terms("full", 20, 60, 5000, 4)
    assert (plan.evaluations, plan.chip.name) == (9, "m890-mini")


def test_terms_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(M890Error, match="allow fewer calls or shorter sources"):
        sessions.plan_of_options(options("--calls", "100000"), "tester")


def test_resume_takes_everything_from_the_directory(tmp_path: Path) -> None:
    given = options("--resume", str(tmp_path), "--docs", "full", "--calls", "3")
    with pytest.raises(M890Error, match="leave out --docs and --calls"):
        sessions.opened(given, None, "tester")


def test_finish_judges_what_was_submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    recording = sessions.opened(options(*SMALL, "--out", str(path)), "by hand", "tester")
    assert recording.plan.agent == "by hand"
    recording.call("submit")
    assert main(["finish", str(path)]) == 2
    assert "in use by another run" in capsys.readouterr().err
    recording.close()
    assert main(["finish", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["session"]["submitted"] == 0
    assert json.loads((path / "result.json").read_text())["speedup"] == found["speedup"] == 1.0
    assert main(["verify", str(path)]) == 0
    assert main(["finish", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Evaluation 0 was submitted, after 1 call of tools" in out


def test_run_directories_lie_below_a_folder(tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        recording = sessions.opened(options(*SMALL, "--runs", str(tmp_path / "a")), None, "me")
        names.append(recording.path.relative_to(tmp_path).as_posix())
        recording.close()
    [first, second] = names
    assert first.startswith("a/vector_add-") and first.endswith("-me-seed0")
    assert second == f"{first}-2"


@pytest.mark.long
def test_judgement_apart_imports_nothing_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    recording = sessions.opened(options(*SMALL, "--out", str(path)), None, "me")
    recording.call("submit")
    for name in ("numpy", "numba", "m890sim", "argparse"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w').close()\nraise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    sessions.judge_apart(path)
    recording.close()
    end = time.monotonic() + 60
    while not (path / "result.json").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert json.loads((path / "result.json").read_text())["session"]["submitted"] == 0
    assert not (tmp_path / "imported").exists()


def test_recording_that_failed_does_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from m890sim.agents.files import Log
    from m890sim.agents.reading import RunError

    path = tmp_path / "run"
    recording = sessions.opened(options(*SMALL, "--out", str(path)), None, "tester")

    def full(*_: object) -> None:
        raise RunError("cannot write calls.jsonl: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", full)
        with pytest.raises(RunError, match="No space left"):
            recording.call("status")
    for do in (lambda: recording.call("status"), recording.turn, recording.finish):
        with pytest.raises(RunError, match="opened again, because an earlier call failed: cannot"):
            do()
    recording.close()
    with_room = Recording(path)
    assert with_room.calls == 0 and with_room.call("status").ok
    with_room.close()
    assert main(["verify", str(path)]) == 0
