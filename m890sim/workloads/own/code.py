"""The digest of the code that a task from outside follows from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import CodeType
from typing import Any

from m890sim.digests import digest_of

PACKAGE = Path(__file__).absolute().parents[2]


def code_of(objects: Iterable[Any]) -> str:
    """SHA-256 over the files that functions and classes stand in; "" for those of this package.

    What such a file imports is not in it. A function that stands in no file (typed in at a prompt)
    counts by its compiled code, which other versions of Python do not share.
    """
    found: set[str] = set()
    for entry in objects:
        for code in _codes(entry):
            file = Path(code.co_filename)
            if PACKAGE in file.absolute().parents:
                continue
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, ValueError):
                found.add(digest_of(_plain(code)))
            else:
                found.add(text_digest(text))
    return digest_of(sorted(found)) if found else ""


def text_digest(text: str) -> str:
    """SHA-256 of a text, whatever its line ends."""
    return hashlib.sha256("\n".join(text.splitlines()).encode("utf-8")).hexdigest()


def _codes(entry: Any) -> list[CodeType]:
    """The code of a function, of a callable object's class, or of a class's methods."""
    function = getattr(entry, "__wrapped__", getattr(entry, "func", entry))
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        return [code]
    kind = entry if isinstance(entry, type) else type(entry)
    inner = [getattr(value, "fget", value) for value in vars(kind).values()]
    return [f.__code__ for f in inner if isinstance(getattr(f, "__code__", None), CodeType)]


def _plain(code: CodeType) -> list[Any]:
    constants = [
        _plain(value) if isinstance(value, CodeType) else repr(value) for value in code.co_consts
    ]
    return [code.co_code.hex(), constants, list(code.co_names)]
