"""The first difference between what a record says and what is worked out again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

CLOSE = 1e-12  # floats follow from integers; another machine's logarithm may round the last digit
# How far a rounding error may be off: it comes from sums that another machine may order otherwise.
# It decides nothing, the verdict is worked out beside it.
ROUNDING, ROUNDING_LEAST = 0.05, 1e-4
_ROUNDED = re.compile(r"(?<=relative error )[-+.\de]*\d")


def difference(said: Any, found: Any, path: tuple[str, ...] = ()) -> str:
    """Where plain data differ first, in the order of the record's text; "" where nowhere.

    Types count (true is not 1), integers and texts are compared exactly, floats to `CLOSE`.
    """
    if isinstance(said, dict) and isinstance(found, dict):
        return _of_objects(said, found, path)
    if isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        for number, (one, other) in enumerate(zip(said, found, strict=True)):
            text = difference(one, other, (*path, str(number)))
            if text:
                return text
        return ""
    if _same(said, found, path[-1] if path else ""):
        return ""
    return f"{_name(path)}the record says {_shown(said)}, recomputed {_shown(found)}"


def _of_objects(said: Mapping[str, Any], found: Mapping[str, Any], path: tuple[str, ...]) -> str:
    for key, value in said.items():
        if key not in found:
            return f"{_name((*path, key))}the record has it, and it should not"
        text = difference(value, found[key], (*path, key))
        if text:
            return text
    for key in found:
        if key not in said:
            return f"{_name((*path, key))}the record lacks it"
    return ""


def _same(said: Any, found: Any, key: str) -> bool:
    if type(said) is not type(found):
        return False
    if isinstance(said, float):
        if key == "error":
            return _rounded_alike(said, found)
        return bool(abs(said - found) <= CLOSE * abs(found))
    if isinstance(said, str) and said != found:
        if _ROUNDED.sub("", said) != _ROUNDED.sub("", found):
            return False
        pairs = zip(_ROUNDED.findall(said), _ROUNDED.findall(found), strict=True)
        try:
            return all(_rounded_alike(float(one), float(other)) for one, other in pairs)
        except ValueError:
            return False
    return bool(said == found)


def _rounded_alike(said: float, found: float) -> bool:
    return abs(said - found) <= ROUNDING * abs(found) + ROUNDING_LEAST


def _name(path: tuple[str, ...]) -> str:
    if not path:
        return ""
    if path[0] == "cycles" and len(path) == 2:
        return f"cycles of {path[1]:.80}: "
    return f"{'.'.join(path):.120}: "


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
        return f"{value:,}"
    return f"{value!r:.80}"
