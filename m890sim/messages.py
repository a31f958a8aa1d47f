"""Values and texts of strangers inside messages: one line, printable, bounded.

`described` is for values that Python code hands in, `shown` for text: names of files and chips,
lines of kernels. What a terminal would obey (escapes, controls) comes out as `\\x1b`.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

LENGTH = 60  # characters of a value in a message
_MEMBERS = 4  # of a collection
_LEVELS = 2  # of collections within collections
_ENDS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("{", "}"),
    dict: ("{", "}"),
}


def shown(text: str, length: int = 40) -> str:
    """A stranger's text: on one line, printable, of at most `length` characters."""
    flat = text[: length + 1]
    return _cut(flat if flat.isprintable() else ascii(flat)[1:-1], length)


def described(value: Any, length: int = LENGTH) -> str:
    """A value, in at most `length` characters.

    Plain values are as Python writes them; of all others the type is named, so that no stranger's
    `__repr__` runs and nothing deep is walked.
    """
    return _cut(_plain(value, length, _LEVELS), length)


def _plain(value: Any, length: int, levels: int) -> str:
    kind = type(value)
    if value is None or value is ... or kind in (bool, float, complex):
        return repr(value)
    if kind is int:
        # Beyond 4,300 digits Python refuses to print an integer.
        bits = value.bit_length()
        return repr(value) if bits <= 128 else f"an integer of {bits} bits"
    if kind in (str, bytes, bytearray):
        return repr(value[:length])
    if kind is type:
        return f"the class {value.__name__}"
    if isinstance(value, PurePath):
        return f"{kind.__name__}({str(value)[:length]!r})"
    if kind in _ENDS:
        return _collection(value, kind, length, levels)
    return f"a value of type {kind.__name__}"


def _collection(value: Any, kind: type, length: int, levels: int) -> str:
    if not value:
        return f"{kind.__name__}()" if kind in (set, frozenset) else "".join(_ENDS[kind])
    first, last = _ENDS[kind]
    if levels == 0:
        return f"{first}...{last}"
    members = value.items() if kind is dict else value
    parts = []
    for member, _ in zip(members, range(_MEMBERS), strict=False):
        if kind is dict:
            key, entry = (_plain(part, length, levels - 1) for part in member)
            parts.append(f"{key}: {entry}")
        else:
            parts.append(_plain(member, length, levels - 1))
    if len(value) > _MEMBERS:
        parts.append("...")
    comma = "," if kind is tuple and len(value) == 1 else ""
    return f"{first}{', '.join(parts)}{comma}{last}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
