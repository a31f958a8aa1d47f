"""`m890 agent`: a language model behind a chat-completions server plays a session."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from m890sim.cli import notes, show
from m890sim.cli.optimize import print_outcome
from m890sim.cli.sessions import add_session_options, again, opened
from m890sim.errors import M890Error

if TYPE_CHECKING:
    from m890sim.protocol import Recording
    from m890sim.protocol.chat import ModelPlayer

KEY = "M890_API_KEY"
INTERRUPTED = 130
CONTEXT, RETRIES, TIMEOUT = 400_000, 8, 600.0


def register(commands: Any) -> None:
    """Add the command of this group."""
    agent = commands.add_parser(
        "agent",
        help="let a language model play a session",
        description="A language model plays a session: any server that speaks chat completions "
        "with tools, local or not. Calls and messages are written to the run directory as they "
        "happen; at the end the kernel is judged, of which the model learns nothing.",
        epilog="Exit status: 0 with the kernel judged right, 1 where it was not, 2 refused input, "
        "a server that does not answer or an unwritable directory, 130 after Ctrl-C. After 2 and "
        "130 the session can go on with --resume.",
    )
    add = agent.add_argument
    add(
        "--model",
        metavar="URL",
        required=True,
        help="the server, as http://localhost:8000/v1",
    )
    add("--name", metavar="MODEL", help="what the server calls the model, and the record the agent")
    add(
        "--key",
        metavar="VARIABLE",
        default=KEY,
        help=f"the environment variable with the server's key, if it needs one (default: {KEY}); "
        "it is written nowhere",
    )
    add("--stream", action="store_true", help="ask for answers as a stream")
    add("--temperature", metavar="T", type=_number(0, 10), help="default: the server's own")
    add(
        "--max-tokens",
        metavar="N",
        type=show.integer(1, 10_000_000),
        help="of one message (default: the server's own)",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=_number(0.1, 86_400),
        default=TIMEOUT,
        help=f"of one request (default: {TIMEOUT:g})",
    )
    add(
        "--retries",
        metavar="N",
        type=show.integer(0, 1000),
        default=RETRIES,
        help=f"further tries of a request that failed (default: {RETRIES})",
    )
    add(
        "--context",
        metavar="N",
        type=show.integer(10_000, 100_000_000),
        default=CONTEXT,
        help="characters of the conversation that are sent; old results are shortened before that "
        f"(default: {CONTEXT})",
    )
    add("--json", action="store_true", help="print one JSON object")
    add_session_options(agent)
    agent.set_defaults(handler=_agent)


def _number(least: float, most: float) -> Any:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"must lie in {least:g} ... {most:g}, not {text!r:.60}"
            )
        return value

    return number


def _agent(args: argparse.Namespace) -> int:
    from m890sim.protocol.chat import ApiKey, Endpoint

    endpoint = Endpoint(args.model, ApiKey(args.key), timeout=args.timeout, stream=args.stream)
    if args.name is None and args.resume is None:
        raise M890Error("--name must say what the server calls the model")
    recording = opened(args, args.name, "")
    try:
        return _played(args, recording, endpoint)
    finally:
        recording.close()


def _played(args: argparse.Namespace, recording: Recording, endpoint: Any) -> int:
    from m890sim.protocol.chat import ModelPlayer, Sampling

    path = recording.path
    notes.tell(f"run directory: {path}")
    model = args.name or recording.plan.agent
    sampling = Sampling(model, args.temperature, args.max_tokens, args.retries, args.context)
    player = ModelPlayer(recording, endpoint, sampling, told=_tell)
    go_on = f"{again('agent', path)} --model {args.model}"
    try:
        player.play()
    except KeyboardInterrupt:
        notes.tell(f"\nm890: interrupted. To go on: {go_on}")
        return INTERRUPTED
    except M890Error as error:
        raise M890Error(f"{error}\nThe session is kept. To go on: {go_on}") from error
    finally:
        player.close()
    return _judged(args, recording, player)


def _tell(text: str) -> None:
    notes.tell(show.harmless(text))


def _judged(args: argparse.Namespace, recording: Recording, player: ModelPlayer) -> int:
    outcome = recording.finish()
    usage = player.usage()
    if args.json:
        show.print_json({"run": str(recording.path), "usage": usage} | outcome.as_dict())
    else:
        print_outcome(outcome)
        tokens = ", ".join(f"{show.count(value)} {key}" for key, value in usage.items())
        if tokens:
            print(f"As the server counts: {tokens}.")
    return 0 if outcome.evaluation is not None and outcome.evaluation.correct else 1
