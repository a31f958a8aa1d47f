"""run_jobs: the results of one worker, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from m890sim.errors import M890Error
from m890sim.scale import run_jobs
from tests.layers import ROOT

MOODY = "tests.scale.work:moody"


def gone(pid: int) -> bool:
    """Whether a process has ended, within a while."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_workers_give_what_one_gives_though_they_die(tmp_path: Path) -> None:
    def jobs(where: str) -> list[dict[str, Any]]:
        first: list[dict[str, Any]] = [
            {"value": 0, "do": "refuse"},
            {"value": 1, "do": "die once", "mark": str(tmp_path / where)},
        ]
        return first + [{"value": value} for value in range(2, 8)]

    (tmp_path / "one").touch()  # it would end this process
    alone = list(run_jobs(MOODY, jobs("one")))
    assert alone == [(0, "no 0 here"), *((value, value) for value in range(1, 8))]
    assert sorted(run_jobs(MOODY, jobs("two"), workers=2)) == sorted(alone)
    assert (tmp_path / "two").exists()


def test_a_job_that_always_ends_its_worker_is_named() -> None:
    found = dict(run_jobs(MOODY, [{"value": 5, "do": "die"}], workers=2))
    assert "job 0 ({'do': 'die', 'value': 5}) was begun 3 times" in found[0]
    assert "by signal 9" in found[0]


def test_a_fault_of_the_program_is_raised_and_ends_the_workers(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    jobs = [{"value": 0, "do": "sleep", "mark": str(mark)}, {"value": 1, "do": "raise"}]
    with pytest.raises(ZeroDivisionError, match="a fault") as found:
        list(run_jobs(MOODY, jobs, workers=2))
    assert "in moody" in "".join(found.value.__notes__)
    assert not mark.exists() or gone(int(mark.read_text()))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_driver(kind: signal.Signals, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = (
        "from m890sim.scale import run_jobs; import signal, sys\n"
        # Who runs the tests in the background may have it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"jobs = [{{'value': 0, 'do': 'sleep', 'mark': {str(mark)!r}}}]\n"
        f"list(run_jobs({MOODY!r}, jobs, workers=2))"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            if mark.exists() and mark.read_text():
                break
            time.sleep(0.05)
        driver.send_signal(kind)
        _, text = driver.communicate(timeout=30)
    finally:
        driver.kill()
    assert driver.returncode != 0
    assert (b"KeyboardInterrupt" in text) == (kind is signal.SIGINT)
    assert gone(int(mark.read_text()))


def test_misuse_and_a_cluster_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        list(run_jobs(MOODY, [{"value": 1}], workers=0))
    with pytest.raises(ValueError, match="a function is named module:function, not 'moody'"):
        list(run_jobs("moody", [{"value": 1}]))
    with pytest.raises(M890Error, match="pip install 'm890sim|HOST:PORT"):
        list(run_jobs(MOODY, [{"value": 1}], ray="nowhere"))


def test_what_a_job_prints_is_no_result() -> None:
    found = dict(run_jobs("tests.scale.work:double", [{"value": 1}, {"value": 2}], workers=2))
    assert [found[0]["value"], found[1]["value"]] == [2, 4]
    assert os.getpid() not in {found[0]["pid"], found[1]["pid"]}
