"""What a forger does to a record: changes one value somewhere, and chains the log anew."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from m890sim.agents.chain import CHAIN, first_link, head_of, next_link

Place = tuple[str | int, ...]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Where every leaf of plain data lies, in the order of the text."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        if isinstance(entry, (dict, list)) and entry:
            yield from places(entry, (*at, key))
        else:
            yield (*at, key)


def changed(value: Any, place: Place) -> Any:
    """A copy with another leaf there, of the same type where there is one."""
    found = copy.deepcopy(value)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = other(inner[place[-1]])
    return found


def other(leaf: Any) -> Any:
    """Another value than this one."""
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, int):
        return leaf + 1
    if isinstance(leaf, float):
        return leaf * 10 + 1.0
    if isinstance(leaf, str):
        return leaf + "0"
    return 1 if leaf is None else [1]


def rechain(data: dict[str, Any]) -> dict[str, Any]:
    """A submission whose log is chained anew, and whose chain and result say so."""
    value = first_link(data["manifest"])
    for line in data["log"]:
        value = line[CHAIN] = next_link(value, line)
    data["chain"] = data["result"]["chain"] = head_of(data["manifest"], data["log"])
    return data
