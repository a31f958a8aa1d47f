"""The chain of a run's log: each line names all that was there before it.

The value of a line is SHA-256 over the value before it and the line in canonical JSON; the first
stands on the manifest. So no line can be changed, dropped or put in without changing all later
ones. The chain is no secret: who makes a new one is found out by what the lines say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

CHAIN = "chain"  # the key of a line that holds its value


def canonical(value: Any) -> bytes:
    """Plain data as its one JSON text: sorted keys, no blanks, ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def first_link(manifest: Mapping[str, Any]) -> str:
    """The value that the first line builds on (64 hex digits)."""
    return hashlib.sha256(canonical(manifest)).hexdigest()


def next_link(before: str, line: Mapping[str, Any]) -> str:
    """The value of a line; what it says under `chain` does not count."""
    said = {key: value for key, value in line.items() if key != CHAIN}
    return hashlib.sha256(before.encode("ascii") + b"\n" + canonical(said)).hexdigest()


def head_of(manifest: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """The value after the last line, worked out."""
    value = first_link(manifest)
    for line in lines:
        value = next_link(value, line)
    return value


def broken_link(manifest: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> int | None:
    """The first line whose value is not what manifest and lines give; None where all are."""
    value = first_link(manifest)
    for number, line in enumerate(lines):
        value = next_link(value, line)
        if line.get(CHAIN) != value:
            return number
    return None


def commitment(head: str, best: str) -> str:
    """What fixes a finished run: SHA-256 over its chain and the digest of its best kernel."""
    return hashlib.sha256(f"{head}\n{best}".encode("ascii", "replace")).hexdigest()


def hidden_seed(head: str, best: str) -> int:
    """The seed of a run's hidden cases, 32 bits: known only when log and kernel are fixed."""
    return int(commitment(head, best)[:8], 16)
