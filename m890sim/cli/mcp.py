"""`m890 mcp`: serve a session over the Model Context Protocol, on stdin and stdout."""

from __future__ import annotations

import argparse
import threading
from typing import Any

from m890sim.cli import notes, show
from m890sim.cli.sessions import add_session_options, again, judge_apart, opened
from m890sim.errors import M890Error

REFUSED, INTERRUPTED = 2, 130


def register(commands: Any) -> None:
    """Add the command of this group."""
    mcp = commands.add_parser(
        "mcp",
        help="serve a session to an agent over the Model Context Protocol",
        description="Serve one session to one client of the Model Context Protocol, on stdin and "
        "stdout. Every call is written to the run directory. When the session is over or the "
        "client has gone, its kernel is judged on hidden cases, in a process of its own, of which "
        "the client learns nothing.",
        epilog="Exit status: 0 when the client has gone, 2 refused input or an unwritable "
        "directory. Needs the extra m890sim[mcp].",
    )
    mcp.add_argument(
        "--name", metavar="NAME", help="what the record calls the agent (default: mcp)"
    )
    mcp.add_argument(
        "--unjudged", action="store_true", help="leave the final judgement to m890 finish"
    )
    mcp.add_argument(
        "--http",
        metavar="PORT",
        type=show.integer(1, 65535),
        help="serve http://127.0.0.1:PORT/mcp instead, until the command is ended; all clients "
        "have the one session",
    )
    add_session_options(mcp)
    mcp.set_defaults(handler=_mcp)


class _Judge:
    """Has the session judged once, when it is over."""

    def __init__(self, args: argparse.Namespace, recording: Any) -> None:
        from m890sim.workloads.outside import is_file

        self._recording = recording
        self._task = args.task if args.task is not None and is_file(args.task) else None
        self._wanted = not args.unjudged
        self._lock = threading.Lock()

    def start(self) -> None:
        """May come from any thread, any number of times; a session without calls has no end."""
        with self._lock:
            if self._recording.ended:
                self._recording.close()  # nothing is written any more
            if self._wanted and self._recording.calls:
                self._wanted = False
                judge_apart(self._recording.path, self._task)

    def stop(self) -> None:
        """What cannot be written down is not judged either."""
        with self._lock:
            self._wanted = False


def _serve(host: Any, port: int) -> None:
    try:
        host.run_http("127.0.0.1", port)
    except OSError as error:
        text = error.strerror or error
        raise M890Error(f"port {port} cannot be served ({text}); give another --http") from error


def _mcp(args: argparse.Namespace) -> int:
    from m890sim.protocol.mcp import McpHost, sdk

    sdk()  # said before a directory is made
    recording = opened(args, args.name, "mcp")
    path = recording.path
    notes.tell(f"run directory: {path}")
    judge = _Judge(args, recording)

    def failed(text: str) -> None:
        judge.stop()
        notes.tell(f"m890: {text}\nTo go on: {again('mcp', path)}")

    host = McpHost(recording, judge.start, failed)
    status = 0
    try:
        if args.http is None:
            host.run()
        else:
            _serve(host, args.http)
    except* OSError:
        pass  # stdout cannot be written: the client has gone
    except* KeyboardInterrupt:
        status = INTERRUPTED
    finally:
        recording.close()
    judge.start()
    return REFUSED if host.failure else status
