"""ChatWindow: of a conversation that grows, what is sent: old results shortened, then left out.

A function of the messages alone, so that a session that was killed sends what it would have sent.
It shortens much at once and then nothing for long: a server that keeps what it has read goes on
from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

WHOLE = 6  # messages at the end that are never shortened
HEAD = 2  # messages at the beginning that stay: the rules, and what began it
LONG, KEPT = 600, 200  # characters of a text that is shortened, and what stays of it


class ChatWindow:
    """Messages of one conversation; `add` them, send `view`.

    most: characters of JSON that are sent, as far as the last messages allow.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._messages: list[dict[str, Any]] = []
        self._sizes: list[int] = []
        self._short = HEAD  # messages before it are shortened
        self._from = HEAD  # messages from HEAD to here are left out

    def add(self, message: dict[str, Any]) -> None:
        """One more message of the conversation."""
        self._messages.append(message)
        self._sizes.append(_size(message))
        if self.size > self.most:
            self._shrink()

    @property
    def size(self) -> int:
        """Characters of what is sent."""
        return sum(self._sizes[:HEAD]) + sum(self._sizes[self._from :])

    def view(self) -> list[dict[str, Any]]:
        """What is sent."""
        shown = [self._shown(number) for number in range(min(HEAD, len(self._messages)))]
        if self._from > HEAD:
            text = (
                f"({self._from - HEAD} earlier messages are left out here. status, diff and "
                "read_reference show where things stand.)"
            )
            shown[-1] = {**shown[-1], "content": f"{shown[-1]['content']}\n\n{text}"}
        return shown + [self._shown(n) for n in range(self._from, len(self._messages))]

    def tighten(self) -> bool:
        """Send half as much from now on; False where that changes nothing."""
        before = self.size
        self.most = min(self.most, before) // 2
        self._shrink()
        return self.size < before

    def _shown(self, number: int) -> dict[str, Any]:
        message = self._messages[number]
        return shortened(message) if HEAD <= number < self._short else message

    def _shrink(self) -> None:
        """Come to half of what may be sent; leave out only where shortening is far from it."""
        size, goal, left_out = self.size, self.most // 2, False
        while size > goal and self._short < len(self._messages) - WHOLE:
            number = self._short
            self._short += 1
            before, self._sizes[number] = self._sizes[number], _size(self._shown(number))
            size += self._sizes[number] - before if number >= self._from else 0
        while goal < size and (left_out or size > 3 * self.most // 4):
            after = self._next(self._from)
            if after is None:
                return
            size -= sum(self._sizes[self._from : after])
            self._from, left_out = after, True
            self._short = max(self._short, after)

    def _next(self, number: int) -> int | None:
        """Where the exchange after the one at `number` begins, None for the last one."""
        for later in range(number + 1, len(self._messages) - WHOLE + 1):
            if self._messages[later]["role"] == "assistant":
                return later
        return None


def shortened(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with its long texts cut; it stays a message of the same calls."""
    if message["role"] == "tool":
        more = "; call the tool again to read it"
        return {**message, "content": _cut(message["content"], more)}
    found = {**message, "content": _cut(message["content"])}
    if "tool_calls" in message:
        found["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": _short(call)}}
            for call in message["tool_calls"]
        ]
    return found


def _short(call: Mapping[str, Any]) -> str:
    text: str = call["function"]["arguments"]
    return text if len(text) <= LONG else json.dumps(_cut_all(json.loads(text)))


def _cut_all(value: Any) -> Any:
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, dict):
        return {key: _cut_all(each) for key, each in list(value.items())[:20]}
    if isinstance(value, list):
        return [_cut_all(each) for each in value[:3]]
    return value


def _cut(text: str, more: str = "") -> str:
    if len(text) <= LONG:
        return text
    return f"{text[:KEPT]}\n... ({len(text) - KEPT} characters left out{more})"


def _size(message: Mapping[str, Any]) -> int:
    return len(json.dumps(message))
