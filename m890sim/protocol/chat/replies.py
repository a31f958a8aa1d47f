"""Replies: what a model said, with everything malformed in it made whole for the way back.

Calls come to the session as they were said, which answers what is wrong with them. In the
conversation they stand as every server takes them: names of letters, arguments that are an object,
an id of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from m890sim.agents.reading import parse_json
from m890sim.protocol.tools import MOST_ARGUMENTS

MOST_CALLS = 32  # of one message; further ones are not made
MOST_TEXT = 200_000  # characters of one message that are kept
MALFORMED = "malformed"
_NAME = re.compile(r"[^A-Za-z0-9_-]")


class ReplyError(Exception):
    """An answer without a message."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a tool. name, arguments: as the model said them."""

    id: str
    name: Any
    arguments: Any


@dataclass(frozen=True, slots=True)
class ModelReply:
    """One message of a model. message: for the conversation; said: as it came, "" where the same.

    finish: why it ended. usage: tokens, as the server counts them.
    """

    message: dict[str, Any]
    calls: tuple[ModelCall, ...]
    finish: str
    usage: dict[str, Any] | None
    said: str


def reply_of(found: Mapping[str, Any], first: int) -> ModelReply:
    """The reply that an answer holds; first: the number of its first call, for ids.

    Raises: ReplyError.
    """
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    said = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(said, dict):
        raise ReplyError("its answer has no choices[0].message")
    calls: list[ModelCall] = []
    for part in _parts(said)[:MOST_CALLS]:
        calls.append(_call(part, first + len(calls), {call.id for call in calls}))
    message: dict[str, Any] = {"role": "assistant", "content": _content(said.get("content"))}
    if calls:
        message["tool_calls"] = [_made_whole(call) for call in calls]
    finish, usage = choice.get("finish_reason"), found.get("usage")
    text = json.dumps(said)
    return ModelReply(
        message,
        tuple(calls),
        finish if isinstance(finish, str) else "",
        usage if isinstance(usage, dict) and len(json.dumps(usage)) < 2000 else None,
        "" if _same(said, message) else text[:MOST_TEXT],
    )


def kept_calls(message: Mapping[str, Any], said: str, first: int) -> tuple[ModelCall, ...]:
    """The calls of a message that was written down: as they were said, where that was kept."""
    calls = tuple(
        ModelCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", ())
    )
    if said:
        with suppress(ValueError, ReplyError):
            found = {"choices": [{"message": parse_json(said.encode("utf-8", "replace"))}]}
            again = reply_of(found, first).calls
            if [call.id for call in again] == [call.id for call in calls]:
                return again
    return calls


def _parts(said: Mapping[str, Any]) -> list[Any]:
    calls = said.get("tool_calls")
    if isinstance(calls, list):
        return calls
    if isinstance(calls, dict):
        return [calls]
    if isinstance(said.get("function_call"), dict):  # the form of old servers
        return [{"function": said["function_call"]}]
    return []


def _content(content: Any) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, list):
        content = "".join(
            part["text"]
            for part in content
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content[:MOST_TEXT] if isinstance(content, str) else ""


def _call(part: Any, number: int, used: set[str]) -> ModelCall:
    """A call; its id is ours where it has none, or that of another one."""
    part = part if isinstance(part, dict) else {}
    function = part.get("function")
    function = function if isinstance(function, dict) else part
    identity = part.get("id")
    own = isinstance(identity, str) and 0 < len(identity) <= 100 and identity not in used
    return ModelCall(
        identity if own else f"call_{number}", function.get("name"), function.get("arguments")
    )


def _made_whole(call: ModelCall) -> dict[str, Any]:
    name = call.name if isinstance(call.name, str) else ""
    return {
        "id": call.id,
        "type": "function",
        "function": {
            "name": _NAME.sub("_", name)[:64] or "unnamed",
            "arguments": _arguments(call.arguments),
        },
    }


def _arguments(given: Any) -> str:
    """JSON text of one object; of what is none, an object that holds the beginning of it."""
    if given is None or given == "":
        return "{}"
    found = given
    if isinstance(given, str):
        try:
            found = parse_json(given.encode("utf-8", "replace"))
        except ValueError:
            return json.dumps({MALFORMED: given[:2000]})
    text = json.dumps(found)
    if not isinstance(found, dict) or len(text) > MOST_ARGUMENTS:
        return json.dumps({MALFORMED: text[:2000]})
    return given if isinstance(given, str) else text


def _same(said: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    known = {key: value for key, value in said.items() if value not in (None, "", [])}
    ours = {key: value for key, value in message.items() if value}
    return known == ours
