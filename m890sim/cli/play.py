"""`m890 play`: a program plays a session as a model would, through its tools alone."""

from __future__ import annotations

import argparse
from typing import Any

from m890sim.cli import notes, show
from m890sim.cli.optimize import print_outcome
from m890sim.cli.sessions import WAIT, add_session_options, opened, waited_for
from m890sim.errors import M890Error

AGENTS = ("blind", "hinted")  # of m890sim.protocol.players.registry, which loads NumPy
INTERRUPTED = 130


def register(commands: Any) -> None:
    """Add the command of this group."""
    play = commands.add_parser(
        "play",
        help="let a program play a session as a model would",
        description="A program plays a session through its tools and texts alone, without a "
        "model: a baseline, and a way to try everything. blind knows the reference and what "
        "errors say; hinted reads profiles and takes suggestions.",
        epilog="Exit status: 0 with the kernel judged right, 1 where it was not, 2 refused input "
        "or an unwritable directory, 130 after Ctrl-C.",
    )
    play.add_argument(
        "--agent",
        choices=AGENTS,
        default="blind",
        help="who plays (default: blind; hinted needs --docs full, which it has by itself)",
    )
    play.add_argument(
        "--mcp",
        action="store_true",
        help="play as a client of m890 mcp, which runs as a process of its own (m890sim[mcp])",
    )
    play.add_argument("--json", action="store_true", help="print one JSON object")
    add_session_options(play)
    play.set_defaults(handler=_play)


def _play(args: argparse.Namespace) -> int:
    from m890sim.protocol.mcp import sdk
    from m890sim.protocol.players.hosts import HostedHere, over_mcp
    from m890sim.protocol.players.registry import PLAYERS

    player = PLAYERS[args.agent]
    if args.resume is None and args.docs is None:
        args.docs = player.docs
    if args.docs is not None and player.docs == "full" and args.docs != "full":
        raise M890Error(f"{args.agent} plays with profiles: --docs must be full, not {args.docs}")
    if args.mcp:
        sdk()  # said before a directory is made
    recording = opened(args, args.agent, args.agent)
    path = recording.path
    notes.tell(f"run directory: {path}")
    try:
        if not recording.ended and args.mcp:
            recording.close()
            with over_mcp(["--resume", str(path), "--unjudged"]) as served:
                player.play(served)
            recording = waited_for(path, WAIT)
        elif not recording.ended:
            player.play(HostedHere(recording))
        outcome = recording.finish()
    except KeyboardInterrupt:
        notes.tell(f"\nm890: interrupted. To judge it as it stands: m890 finish {path}")
        return INTERRUPTED
    finally:
        recording.close()
    if args.json:
        show.print_json({"run": str(path)} | outcome.as_dict())
    else:
        print_outcome(outcome)
    return 0 if outcome.evaluation is not None and outcome.evaluation.correct else 1
