"""Reading files that strangers may have made: bounded, plain JSON, and never a surprise.

Whatever a file holds, the result is its data or one error that says what is wrong with it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from m890sim.errors import M890Error

MIB = 1 << 20
MOST_BYTES = 32 * MIB  # of one file: the log of 432 evaluations takes about 0.5 MiB
MOST_LINE_BYTES = MIB  # of one evaluation, a kernel's source included
# Braces, brackets and commas of one file: an object takes 200 times the memory of its text. A log
# that is as large as a file may be has 1.6 million.
MOST_PARTS = 2_500_000
MOST_DEPTH = 24  # of nested lists and objects; a record has 6

# A file is opened as itself, never through a link, and a pipe in its place makes nobody wait.
AS_ITSELF = 0
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    AS_ITSELF |= getattr(os, _flag, 0)


class RunError(M890Error):
    """A run directory or submission that cannot be made, read, written, resumed or verified."""


def read_bounded(file: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file of at most that size. Raises: RunError; never waits."""
    try:
        if file.is_symlink():
            raise RunError(f"cannot read {file}: it is a symbolic link; copy the file itself here")
        handle = os.open(file, os.O_RDONLY | AS_ITSELF)
        with os.fdopen(handle, "rb") as stream:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise RunError(f"cannot read {file}: it is no regular file")
            if found.st_size > most_bytes:
                raise RunError(
                    f"cannot read {file}: it has {found.st_size} bytes, at most {most_bytes} "
                    "are read"
                )
            data = stream.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or error
        raise RunError(f"cannot read {file}: {detail}") from error
    if len(data) > most_bytes:
        raise RunError(f"cannot read {file}: it grows beyond {most_bytes} bytes")
    return data


def parse_json(data: bytes) -> Any:
    """JSON in UTF-8 with finite numbers, keys that are there once, and little nesting.

    Raises: ValueError, saying what is wrong.
    """
    check_parts(data)
    try:
        found = json.loads(
            data.decode("utf-8"),
            parse_constant=_constant,
            parse_float=_finite,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError(_too_deep()) from None
    _check(found)
    return found


def check_parts(data: bytes) -> None:
    """Raises: ValueError for JSON of so many parts that reading it would take a gigabyte."""
    parts = sum(data.count(mark) for mark in (b"{", b"[", b","))
    if parts > MOST_PARTS:
        raise ValueError(
            f"it has {parts} braces, brackets and commas, at most {MOST_PARTS} are read"
        )


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """As `parse_json`, one object. Raises: RunError that names the file."""
    try:
        found = parse_json(data)
    except ValueError as error:
        raise RunError(f"{name} is damaged: {error}; nothing was changed") from error
    if not isinstance(found, dict):
        raise RunError(f"{name} is damaged: it must hold one JSON object; nothing was changed")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text:.30} is too large")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r:.60} is there twice in one object")
            seen.add(key)
    return found


def _check(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        below: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                for key in entry:
                    _check_text(key)
                below.extend(entry.values())
            elif isinstance(entry, list):
                below.extend(entry)
            elif isinstance(entry, str):
                _check_text(entry)
        if not below:
            return
        level = below
    raise ValueError(_too_deep())


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a character (a lone surrogate)") from None


def _too_deep() -> str:
    return f"it is nested deeper than {MOST_DEPTH} levels"
