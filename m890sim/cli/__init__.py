"""`m890`, the command line: one file a command group, every import of weight inside its handler.

Exit status: 0 right, 1 a wrong result, 2 refused input (message on stderr), 3 a fault of the
simulator itself, 130 interrupted. With --json all but the first two put the message into an object
on stdout too (`refusals`). Set M890_TRACEBACK=1 to see where a fault came from.
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
    agent,
    bench,
    check,
    compare,
    compare_runs,
    dataset,
    docs,
    edits,
    exercises,
    export,
    files,
    grade,
    judge,
    ladder,
    leaderboard,
    mcp,
    notes,
    optimize,
    play,
    profile,
    refusals,
    report,
    run,
    sessions,
    submit,
    suggest,
    tables,
    verify,
)
from m890sim.errors import M890Error

RIGHT, WRONG, FAULT, INTERRUPTED, BROKEN_PIPE = 0, 1, 3, 130, 141
REFUSED = refusals.REFUSED

# Objects that are made, less those that are freed, before the cyclic collector looks at the young
# ones; its passes over the young before one over the middle-aged, and of those before one over all.
# What a command makes lives long (kernels, what is known of them, compiled programs): with Python's
# own numbers the collector takes a seventh of `m890 optimize` and saves 4% of its memory.
COLLECT_AFTER = (50_000, 20, 20)

GROUPS = (
    run,
    check,
    profile,
    suggest,
    bench,
    compare,
    compare_runs,
    dataset,
    judge,
    optimize,
    play,
    agent,
    mcp,
    export,
    sessions,
    report,
    verify,
    submit,
    leaderboard,
    exercises,
    grade,
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
    parser = refusals.CommandParser(
        prog="m890",
        description="Simulate, check and judge kernels on a fictional accelerator.",
        epilog="To begin with: m890 tasks, m890 run vector_add_reference, m890 profile "
        "vector_add_reference. m890 COMMAND --help explains one command. Exit status: 0 right, 1 a "
        "wrong result, 2 refused input, with the message on stderr, 3 a fault of the simulator, "
        "130 after Ctrl-C. With --json a command prints one JSON object, also where it refuses.",
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
    given = sys.argv[1:] if argv is None else argv
    as_json = "--json" in given
    try:
        args = build_parser().parse_args(given)
        as_json = getattr(args, "json", False)
        with _collecting_rarely():
            status: int = args.handler(args)
        sys.stdout.flush()
    except refusals.UsageExit as stop:
        return _refuse(stop, as_json, told=True)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else RIGHT  # 0 after --help
    except M890Error as error:
        return _refuse(error, as_json)
    except BrokenPipeError:
        # The reader has gone; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _refuse(M890Error(f"{name}{error.strerror or error}"), as_json)
    except KeyboardInterrupt:
        return _interrupted(last=argv is None, as_json=as_json)
    except MemoryError:
        message = "out of memory; run fewer or smaller cases (--case)"
        return _refuse(M890Error(message), as_json)
    except Exception as error:
        if os.environ.get("M890_TRACEBACK"):
            raise
        message = f"fault of the simulator: {type(error).__name__}: {error}"
        notes.tell(
            f"m890: {message}\n"
            "This is a bug, please report it; M890_TRACEBACK=1 shows where it happened."
        )
        if as_json:
            refusals.print_refusal([refusals.Finding(message)], FAULT)
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


def _refuse(error: BaseException, as_json: bool, told: bool = False) -> int:
    """Say on stderr what is refused, and on stdout for --json; told: stderr has it already."""
    found = (
        [refusals.Finding(error.message)]
        if isinstance(error, refusals.UsageExit)
        else refusals.findings_of(error)
    )
    if not told:
        for finding in found:
            refusals.tell(finding)
    if as_json:
        refusals.print_refusal(found)
    return REFUSED


def _interrupted(last: bool, as_json: bool) -> int:
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
    if as_json:
        refusals.print_refusal([refusals.Finding("interrupted")], INTERRUPTED)
    if before is not None and not last:
        signal.signal(signal.SIGINT, before)
    return INTERRUPTED
