"""Jobs for the tests: what they do stands in their data."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m890sim.errors import M890Error


def double(job: Mapping[str, Any]) -> dict[str, Any]:
    """Twice the value, and the process."""
    print("not a frame")
    return {"value": 2 * job["value"], "pid": os.getpid()}


def moody(job: Mapping[str, Any]) -> int:
    """By `do`: refuse, raise, die always, die once (`mark` says it was), sleep; else the value."""
    do = job.get("do")
    if do == "refuse":
        raise M890Error(f"no {job['value']} here")
    if do == "raise":
        raise ZeroDivisionError("a fault")
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "die once" and not Path(job["mark"]).exists():
        Path(job["mark"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "sleep":
        Path(job["mark"]).write_text(str(os.getpid()))
        time.sleep(60)
    return int(job["value"])
