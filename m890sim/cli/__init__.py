"""`m890`, the command line: one file a command group, every import of weight inside its handler.

Exit status: 0 right, 1 a wrong result, 2 refused input (message on stderr), 3 a fault of the
simulator itself, 130 interrupted. Set M890_TRACEBACK=1 to see where a fault came from.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from m890sim.cli import (
    compare,
    docs,
    edits,
    files,
    judge,
    ladder,
    leaderboard,
    notes,
    optimize,
    profile,
    report,
    run,
    show,
    submit,
    suggest,
    tables,
    verify,
)
from m890sim.errors import M890Error

RIGHT, WRONG, REFUSED, FAULT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141

# Objects that are made, less those that are freed, before the cyclic collector looks at the young
# ones; its passes over the young before one over the middle-aged, and of those before one over all.
# What a command makes lives long (kernels, what is known of them, compiled programs): with Python's
# own numbers the collector takes a seventh of `m890 optimize` and saves 4% of its memory.
COLLECT_AFTER = (50_000, 20, 20)

GROUPS = (
    run,
    profile,
    suggest,
    compare,
    judge,
    optimize,
    report,
    verify,
    submit,
    leaderboard,
    files,
    ladder,
    tables,
    edits,
    docs,
)


class _Version(argparse.Action):
    """`--version`: looked up when asked for, because package metadata are slow to read."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("m890sim")
        except PackageNotFoundError:
            number = "(not installed)"
        print(f"m890sim {number}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each group adds its commands."""
    parser = argparse.ArgumentParser(
        prog="m890",
        description="Simulate, check and judge kernels on a fictional accelerator.",
        epilog="Exit status: 0 right, 1 wrong result, 2 refused input.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in GROUPS:
        group.register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status and never lets an exception out."""
    # Python starts with None for a stream that the caller closed (`m890 ... >&-`).
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a glyph shows a "?", not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    try:
        args = build_parser().parse_args(argv)
        with _collecting_rarely():
            status: int = args.handler(args)
        sys.stdout.flush()
    except SystemExit as stop:
        # argparse: 0 after --help, 2 after a usage error that it has already explained.
        return stop.code if isinstance(stop.code, int) else RIGHT
    except M890Error as error:
        return _refuse(show.harmless(str(error)))
    except BrokenPipeError:
        # The reader has gone; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        name = show.harmless(f"{error.filename}: ") if error.filename else ""
        return _refuse(f"{name}{error.strerror or error}")
    except KeyboardInterrupt:
        return _interrupted(last=argv is None)
    except MemoryError:
        return _refuse("out of memory; run fewer or smaller cases (--case)")
    except Exception as error:
        if os.environ.get("M890_TRACEBACK"):
            raise
        notes.tell(
            f"m890: fault of the simulator: {type(error).__name__}: {error}\n"
            "This is a bug, please report it; M890_TRACEBACK=1 shows where it happened."
        )
        return FAULT
    return status


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Let the cyclic collector run as COLLECT_AFTER says, and as before afterwards."""
    before = gc.get_threshold()
    if before[0]:  # 0: somebody switched it off
        gc.set_threshold(*COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _refuse(message: str) -> int:
    # Messages that name a file and a line stand alone, so that editors can jump to them.
    notes.tell(message if _has_place(message) else f"m890: {message}")
    return REFUSED


def _interrupted(last: bool) -> int:
    """Say so, undisturbed by more Ctrl-C; where this is the process's last word, until it ends."""
    before = None
    while True:
        try:
            with suppress(ValueError):  # not in the main thread: no signal comes here
                before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            break
        except KeyboardInterrupt:
            continue  # one more, before the line above took hold
    notes.tell("\nm890: interrupted")
    if before is not None and not last:
        signal.signal(signal.SIGINT, before)
    return INTERRUPTED


def _has_place(message: str) -> bool:
    parts = message.split("\n", 1)[0].split(":")
    return len(parts) > 3 and parts[1].isdigit() and parts[2].isdigit()
