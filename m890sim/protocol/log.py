"""calls.jsonl: every call of a session, chained, as the evaluations are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m890sim.agents.chain import CHAIN
from m890sim.agents.files import read_log
from m890sim.agents.reading import MOST_LINE_BYTES
from m890sim.messages import described
from m890sim.protocol.tools import REFUSED, CallError, read_arguments

CALLS = "calls.jsonl"
TURN = "(no tool)"  # stands for the tool of a turn without a call
INTERRUPTED = "(interrupted)"  # of a call that was killed before it was written down
# What a line holds. answer: its digest. spent: evaluations after it. seconds: since the session
# began, of the host's clock, which nobody can work out again.
LINE: dict[str, tuple[type, ...]] = {
    "index": (int,),
    "tool": (str,),
    "arguments": (dict, str),
    "ok": (bool,),
    "answer": (str,),
    "spent": (int,),
    "late": (bool,),
    "seconds": (float,),
    CHAIN: (str,),
}
MOST_NAME = 200  # characters of the name of a tool


def read_calls(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The calls of a run directory, and how many bytes of the file they are.

    A last line that is not whole was being written when the session was killed; it is left out.
    Raises: RunError where the file is missing or damaged.
    """
    return read_log(path / CALLS, check_call, 2 * MOST_LINE_BYTES)


def check_call(line: Any, index: int) -> None:
    """Raises: ValueError for what is no call of that number, by its keys and their types."""
    if not isinstance(line, dict) or type(line.get("index")) is not int or line["index"] != index:
        raise ValueError(f"it must be call {index}")
    for key in (*line, *LINE):
        if key not in LINE:
            raise ValueError(f"a call has no {key!r:.60}")
        if key not in line:
            raise ValueError(f"it has no {key!r}")
        if type(line[key]) not in LINE[key]:
            raise ValueError(f"{key} must not be {line[key]!r:.60}")


def said(line: Mapping[str, Any]) -> dict[str, Any]:
    """What of a call can be worked out again."""
    return {key: value for key, value in line.items() if key not in (CHAIN, "seconds")}


def kept_arguments(arguments: Any) -> dict[str, Any] | str:
    """Arguments as they are taken and kept; of what is refused, its refusal."""
    try:
        return read_arguments(arguments)
    except CallError as error:
        return REFUSED + str(error)


def kept_name(tool: Any) -> str:
    """The name of a tool as it is taken and kept: a bounded text of whole characters."""
    text = tool if isinstance(tool, str) else described(tool)
    text = text[:MOST_NAME].encode("utf-8", "replace").decode("utf-8")
    return text if text not in (TURN, INTERRUPTED) else f"{text}?"
