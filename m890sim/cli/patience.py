"""Long runs: a line on stderr now and then where there is no terminal, and an end after a while."""

from __future__ import annotations

import argparse
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from m890sim.cli import notes
from m890sim.errors import M890Error

FIRST, LONGEST = 5.0, 60.0  # seconds until the first line, and at most between two
MOST_SECONDS = 86_400


class OutOfTime(BaseException):
    """The time limit is over. No M890Error, which code on the way may catch."""


def add_time_option(parser: argparse.ArgumentParser) -> None:
    """The option of commands that may run long."""
    parser.add_argument(
        "--time-limit",
        metavar="SECONDS",
        type=_seconds,
        help="stop after so long, with what is known by then and exit status 2",
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"must be a number of seconds above 0 and up to {MOST_SECONDS}, not {text:.40}"
        )
    return value


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise OutOfTime in the block after so many seconds; None for no end.

    A compiled loop or a product of matrices that runs then is not cut off: it ends first.
    Raises: M890Error where the system or the thread has no interval timers.
    """
    if seconds is None:
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    try:
        before = signal.signal(signal.SIGALRM, ring)
    except (AttributeError, ValueError):  # Windows; not the main thread
        raise M890Error("--time-limit needs interval timers, which are missing here") from None
    # Again every second, should something on the way swallow the first.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def patient(title: str, first: float = FIRST) -> Iterator[Callable[[int, int, str], None]]:
    """Say on stderr what goes on, after `first` seconds and then ever less often."""
    latest = [(0, 0, "")]
    over = threading.Event()
    begin = time.monotonic()

    def speak() -> None:
        pause = first
        while not over.wait(pause):
            done, total, label = latest[0]
            steps = f"step {done + 1} of {total}, " if total else ""
            what = f": {label}" if label else ""
            notes.tell(f"{title}{what} ({steps}{time.monotonic() - begin:.0f} s so far)")
            pause = min(2 * pause, LONGEST)

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()

    def tell(done: int, total: int, label: str) -> None:
        latest[0] = (done, total, label)

    try:
        yield tell
    finally:
        over.set()
        thread.join(first)
