"""messages.jsonl: every message of a model's session, chained as the other logs are.

Each line is a message, or a note of the host (what went wrong, and how long it waited). A message
that answers a call names the line of calls.jsonl; so both files tell where a session stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m890sim.agents.chain import CHAIN, broken_link, head_of
from m890sim.agents.files import Log, read_manifest, write_whole
from m890sim.agents.reading import RunError, parse_json, read_bounded

MESSAGES = "messages.jsonl"
MOST_MESSAGES = 64 * 2**20  # bytes of the file after which nothing is added
BEGINS = "the conversation begins"  # the note before its first message
NOTHING = type(None)
LINE: dict[str, tuple[type, ...]] = {
    "index": (int,),
    "note": (str,),
    "message": (dict, NOTHING),
    "call": (int, NOTHING),
    "said": (str,),
    "usage": (dict, NOTHING),
    "seconds": (float,),
    CHAIN: (str,),
}


class FullError(RunError):
    """A file of messages that takes no more."""


class Transcript:
    """The messages of a run directory, open for writing by this process alone.

    Raises: RunError where the file is damaged, in use, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.file = path / MESSAGES
        manifest = read_manifest(path)
        if not self.file.exists():
            write_whole(self.file, b"")
        self.lines, whole = _read(self.file)
        if broken_link(manifest, self.lines) is not None:
            raise RunError(f"{self.file} is damaged: its chain is broken; nothing was changed")
        self._size = whole
        head = head_of(manifest, self.lines)
        self._log = Log(path, whole, len(self.lines), head, MESSAGES)

    def add(
        self,
        message: dict[str, Any] | None,
        seconds: float,
        *,
        note: str = "",
        call: int | None = None,
        said: str = "",
        usage: dict[str, Any] | None = None,
    ) -> None:
        """Write a line. Raises: FullError, RunError."""
        line = {
            "index": self._log.count,
            "note": note,
            "message": message,
            "call": call,
            "said": said,
            "usage": usage,
            "seconds": round(seconds, 3),
        }
        self._log.append(line)
        self.lines.append(line)
        self._size = self.file.stat().st_size
        if self._size > MOST_MESSAGES:
            raise FullError(
                f"{self.file} has {self._size} bytes and takes no more; m890 finish judges what "
                "there is"
            )

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """The lines with messages since the conversation began (for the last time)."""
        begins = [n for n, line in enumerate(self.lines) if line["note"] == BEGINS]
        if not begins:
            return []
        return [line for line in self.lines[begins[-1] :] if line["message"] is not None]

    @property
    def calls(self) -> int:
        """Lines of calls.jsonl that the messages know."""
        known = [line["call"] for line in self.lines if line["call"] is not None]
        return known[-1] + 1 if known else 0

    def close(self) -> None:
        """Let others write."""
        self._log.close()


def _read(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of the file, and their bytes; a line that is not whole is left out."""
    text = read_bounded(file, 2 * MOST_MESSAGES)  # the last line may be a long one
    whole = text.rfind(b"\n") + 1
    lines: list[dict[str, Any]] = []
    for number, data in enumerate(text[:whole].split(b"\n")[:-1]):
        try:
            line = parse_json(data)
            _check(line, number)
        except ValueError as error:
            raise RunError(
                f"{file} is damaged in line {number + 1}: {error!s:.200}; nothing was changed"
            ) from error
        lines.append(line)
    return lines, whole


def _check(line: Any, number: int) -> None:
    """Raises: ValueError for what is no line of that number."""
    if not isinstance(line, Mapping) or line.keys() != LINE.keys():
        raise ValueError("it has other keys than a line has")
    for key, kinds in LINE.items():
        if type(line[key]) not in kinds:
            raise ValueError(f"{key} must not be {line[key]!r:.60}")
    if line["index"] != number:
        raise ValueError(f"it must be line {number}")
    message = line["message"]
    if message is not None and not (
        isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
    ):
        raise ValueError("its message must have role and content")
    for call in () if message is None else message.get("tool_calls", ()):
        function = call["function"] if isinstance(call, dict) and "function" in call else None
        if (
            not isinstance(function, dict)
            or not isinstance(call.get("id"), str)
            or not all(isinstance(function.get(key), str) for key in ("name", "arguments"))
        ):
            raise ValueError("its calls must have id, name and arguments")
