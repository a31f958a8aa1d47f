"""Assembly: the parts of a streamed answer put together to one, as if it had come whole."""

from __future__ import annotations

from typing import Any

from m890sim.agents.reading import parse_json

MOST_CALLS = 256  # parts of a message; the loop takes fewer
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


class StreamError(Exception):
    """A stream that is no whole answer."""


class Assembly:
    """Takes lines of server-sent events until `done`; then `whole`."""

    def __init__(self) -> None:
        self.done = False
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[Any, dict[str, Any]] = {}
        self._last: Any = None  # the key of the call that came last
        self._finish: str | None = None
        self._usage: Any = None

    @property
    def ended(self) -> bool:
        """Whether it said that it was over."""
        return self.done or self._finish is not None

    def take(self, line: bytes) -> dict[str, Any] | None:
        """One line; the object that it holds, None for comments, blanks and other fields.

        Raises: StreamError.
        """
        text = line.strip()
        if not text.startswith(b"data:"):
            return None
        text = text[len(b"data:") :].strip()
        if text == b"[DONE]":
            self.done = True
            return None
        if not text:
            return None
        try:
            event = parse_json(text)
        except ValueError as error:
            raise StreamError(f"a part of its stream is not JSON ({error!s:.200})") from None
        if not isinstance(event, dict):
            raise StreamError("a part of its stream is no JSON object")
        self._usage = event.get("usage") or self._usage
        choices = event.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(first, dict):
            if isinstance(first.get("finish_reason"), str):
                self._finish = first["finish_reason"]
            if isinstance(first.get("delta"), dict):
                self._delta(first["delta"])
        return event

    def whole(self) -> dict[str, Any]:
        """The answer. Raises: StreamError where it broke off before it said that it was over."""
        if not self.ended:
            raise StreamError("its stream broke off")
        message: dict[str, Any] = {key: "".join(parts) for key, parts in self._texts.items()}
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": "".join(call["arguments"])},
                }
                for call in self._calls.values()
            ]
        choice = {"message": message, "finish_reason": self._finish or "stop"}
        return {"choices": [choice], "usage": self._usage}

    def _delta(self, delta: dict[str, Any]) -> None:
        for key in _TEXTS:
            if isinstance(delta.get(key), str):
                self._texts.setdefault(key, []).append(delta[key])
        calls = delta.get("tool_calls")
        for part in calls if isinstance(calls, list) else ():
            if isinstance(part, dict):
                self._call(part)

    def _call(self, part: dict[str, Any]) -> None:
        """A part belongs to the call of its index; without one, a new id begins a new call."""
        key = part.get("index")
        if not isinstance(key, int):
            identity = part.get("id")
            key = identity if isinstance(identity, str) and identity else self._last
        self._last = key
        if key not in self._calls and len(self._calls) >= MOST_CALLS:
            raise StreamError(f"its stream has more than {MOST_CALLS} calls")
        call = self._calls.setdefault(key, {"id": None, "name": "", "arguments": []})
        call["id"] = call["id"] or part.get("id")
        function = part.get("function")
        if isinstance(function, dict):
            if isinstance(function.get("name"), str):
                call["name"] = call["name"] or function["name"]
            if isinstance(function.get("arguments"), str):
                call["arguments"].append(function["arguments"])
