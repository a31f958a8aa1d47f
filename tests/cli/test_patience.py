"""Long runs: lines on stderr, --time-limit, and what is kept when time is over."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from m890sim.cli import main, patience
from m890sim.cli.patience import OutOfTime, patient, time_limit
from m890sim.errors import M890Error
from m890sim.workloads import KERNELS

Capture = pytest.CaptureFixture[str]
REFERENCE = "vector_add_reference"


def test_a_line_comes_after_a_while_and_then_less_often(capsys: Capture) -> None:
    with patient("kernel", first=0.05) as tell:
        tell(2, 6, "a case: normal, 4,812,000 instructions")
        time.sleep(0.4)  # lines after 0.05, 0.15 and 0.35 s
    lines = capsys.readouterr().err.splitlines()
    pattern = r"kernel: a case: normal, 4,812,000 instructions \(step 3 of 6, \d+ s so far\)"
    assert 1 <= len(lines) <= 4
    assert all(re.fullmatch(pattern, line) for line in lines)


def test_quick_work_says_nothing(capsys: Capture) -> None:
    with patient("kernel") as tell:
        tell(0, 1, "soon done")
    assert capsys.readouterr().err == ""


def test_run_says_how_many_instructions_it_computes(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("m890sim.cli.patience.FIRST", 0.0)

    class Told:
        def __enter__(self) -> object:
            return lambda done, total, label: told.append(label)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("m890sim.cli.patience.patient", lambda *_: Told())
    assert main(["run", REFERENCE, "--case", "add-600x96", "--json"]) == 0
    instructions = json.loads(capsys.readouterr().out)["cases"][0]["instructions"]
    assert told == []  # --json is quiet
    assert main(["run", REFERENCE, "--case", "add-600x96"]) == 0
    assert any(f", {instructions:,} instructions" in label for label in told)


def test_time_limit_interrupts_and_gives_the_signal_back() -> None:
    before = signal.getsignal(signal.SIGALRM)
    begin = time.monotonic()
    with pytest.raises(OutOfTime), time_limit(0.05):
        while True:
            time.sleep(0.01)
    assert time.monotonic() - begin < 5
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with time_limit(None), time_limit(60):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_time_limit_is_refused_where_no_signal_comes() -> None:
    found: list[BaseException] = []

    def limited() -> None:
        try:
            with time_limit(1):
                pass
        except M890Error as error:
            found.append(error)

    thread = threading.Thread(target=limited)
    thread.start()
    thread.join()
    assert "interval timers" in str(found[0])


def test_swallowed_signal_comes_again() -> None:
    seen = 0
    with time_limit(0.02):
        while seen < 2:
            try:
                time.sleep(5)
            except OutOfTime:
                seen += 1
    assert seen == 2


def slow(folder: Path) -> Path:
    """A kernel whose computed run takes minutes: millions of instructions on small tiles."""
    text = KERNELS[REFERENCE].text.replace(
        "            fence()\n            store(",
        "            for k in range(40000):\n"
        "                add(b[:rows], b[:rows], a[:rows])\n"
        "            store(",
    )
    path = folder / "slow.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_run_ends_in_time_with_message_and_status(tmp_path: Path, capsys: Capture) -> None:
    begin = time.monotonic()
    given = ["run", str(slow(tmp_path)), "--case", "add-600x96", "--time-limit", "0.5"]
    assert main(given) == 2
    assert time.monotonic() - begin < 20
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the time limit of 0.5 s ended the run after 0 of 1 case, at add-600x96" in captured.err
    assert " instructions" in captured.err and "m890 profile" in captured.err
    assert main([*given, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["cases"] == ["add-600x96"]


def test_cases_done_in_time_are_kept(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import m890sim.judge

    judge = m890sim.judge.evaluate

    def late(kernel: object, task: object, chip: object, cases: list[str], **named: object):
        if cases == ["add-256x512"]:
            raise OutOfTime
        return judge(kernel, task, chip, cases, **named)

    monkeypatch.setattr(m890sim.judge, "evaluate", late)
    given = ["run", REFERENCE, "--time-limit", "60"]
    assert main([*given, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [case["case"] for case in found["cases"]] == ["add-512x256", "add-600x96"]
    assert found["correct"] is True and found["error"]["cases"] == ["add-256x512"]
    assert main(given) == 2
    captured = capsys.readouterr()
    assert "add-600x96" in captured.out and "after 2 of 3 cases" in captured.err


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon", "1e9"])
def test_time_limit_takes_seconds(text: str, capsys: Capture) -> None:
    assert main(["run", REFERENCE, "--time-limit", text]) == 2
    assert "must be a number of seconds above 0" in capsys.readouterr().err


def test_lines_of_a_run_are_kept_off_a_terminal_of_json() -> None:
    assert patience.FIRST >= 3, "runs of a few seconds stay quiet"
