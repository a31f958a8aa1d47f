"""What a text action means: a kernel's whole text, replacements in it, or a call of a tool."""

from __future__ import annotations

import string
from collections.abc import Collection
from typing import Any

from m890sim.agents.reading import parse_json
from m890sim.messages import described, shown
from m890sim.protocol.tools import REFUSED

# What texts of the spaces are made of. In one order: samples follow from it.
CHARACTERS = "\t\n " + string.digits + string.ascii_letters + string.punctuation
SEARCH, DIVIDER, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
FENCE = "```"
KERNEL_MARK = "@kernel"  # stands in every kernel file, and in no answer that only talks
GUIDE = f"""An action is one text, in one of these forms:
- a whole kernel file: it is tested;
- replacements in the text that was handed in last (at first the reference), which is tested then;
  what is searched must stand there exactly once; text outside of such blocks is passed over:
{SEARCH}
    BK: Tunable = 64
{DIVIDER}
    BK: Tunable = 128
{REPLACE}
- a call of a tool as JSON, {{"tool": "check", "arguments": {{"source": "..."}}}}, or the name of a
  tool alone, as status; submit ends the episode.
A kernel or a call may stand between lines of {FENCE}, with other text around them.
"""


class ActionError(Exception):
    """A text that is no action; says what was found and what to do."""


def taken(action: Any, tools: Collection[str], most: int) -> tuple[Any, Any]:
    """As `call_of`; of what is no action, a call that is answered with what is wrong with it."""
    try:
        return call_of(action, tools, most)
    except ActionError as error:
        return "test", REFUSED + str(error)


def call_of(action: Any, tools: Collection[str], most: int) -> tuple[Any, Any]:
    """The tool that an action calls, and its arguments; `most` characters are taken.

    Raises: ActionError.
    """
    text = _text_of(action, most)
    lines = text.split("\n")
    if any(line.rstrip() == SEARCH for line in lines):
        return "test", {"replace": _blocks(lines)}
    text = _unfenced(text, lines)
    word = text.strip()
    if word in tools:
        return word, {}
    if word.startswith("{"):
        return _json_call(word)
    if not word:
        raise ActionError("the action is empty; write a kernel, replacements, or a tool's name")
    if KERNEL_MARK not in text:
        raise ActionError(
            f"the action is no kernel, as it has no {KERNEL_MARK}, and neither replacements, a "
            f"call as JSON nor the name of a tool ({', '.join(tools)}); nothing was changed"
        )
    return "test", {"source": text}


def _text_of(action: Any, most: int) -> str:
    if not isinstance(action, str):
        raise ActionError(f"an action must be a text, not {described(action)}")
    text = str(action).replace("\r\n", "\n")
    if len(text) > most:
        raise ActionError(
            f"the action has {len(text):,} characters, at most {most:,} are taken; write less"
        )
    strange = set(text) - set(CHARACTERS)
    if strange:
        place = min(text.index(sign) for sign in strange)
        line = text.count("\n", 0, place) + 1
        raise ActionError(
            f"line {line} of the action has the character {text[place]!a}; use printable "
            "ASCII, tabs and line ends"
        )
    return text


def _blocks(lines: list[str]) -> list[dict[str, str]]:
    """The replacements of all blocks, in order."""
    found: list[dict[str, str]] = []
    old: list[str] | None = None  # lines of the block that is open
    new: list[str] | None = None  # the same below its divider
    for number, line in enumerate(lines, 1):
        mark = line.rstrip()
        if mark == SEARCH:
            if old is not None:
                raise ActionError(f"line {number}: {SEARCH} within a block; end it with {REPLACE}")
            old = []
        elif old is None:
            if mark == REPLACE:
                raise ActionError(f"line {number}: {REPLACE} without {SEARCH} before it")
        elif mark == REPLACE:
            if new is None:
                raise ActionError(f"line {number}: the block has no {DIVIDER} between its parts")
            found.append({"old": "\n".join(old), "new": "\n".join(new)})
            old = new = None
        elif mark == DIVIDER and new is None:
            new = []
        else:
            (old if new is None else new).append(line)
    if old is not None:
        raise ActionError(f"the last block does not end; end it with {REPLACE}")
    return found


def _unfenced(text: str, lines: list[str]) -> str:
    """What stands in a fence of Markdown, or the whole text where there is none."""
    fences = [number for number, line in enumerate(lines) if line.startswith(FENCE)]
    if not fences:
        return text
    if len(fences) != 2:
        raise ActionError(
            f"the action has {len(fences)} lines that begin with {FENCE}; put one text between two"
        )
    return "\n".join(lines[fences[0] + 1 : fences[1]]) + "\n"


def _json_call(text: str) -> tuple[Any, Any]:
    form = '{"tool": "check", "arguments": {...}}'
    try:
        found = parse_json(text.encode("ascii"))
    except ValueError as error:
        raise ActionError(
            f"the action begins as a call and is not JSON: {shown(str(error), 200)}; "
            f"write it as {form}"
        ) from None
    if not isinstance(found, dict) or "tool" not in found or set(found) - {"tool", "arguments"}:
        raise ActionError(f"a call must have tool and arguments alone, as {form}")
    return found["tool"], found.get("arguments", {})
