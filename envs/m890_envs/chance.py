"""The random numbers of spaces, taken over by copies."""

from __future__ import annotations

import copy
from typing import Any

from gymnasium import spaces


def chance_of(space: Any) -> tuple[Any, dict[str, Any]]:
    """The random numbers of a space, and of those in it by name."""
    inner = space.spaces.items() if isinstance(space, spaces.Dict) else ()
    return space._np_random, {name: chance_of(found) for name, found in inner}


def with_chance(space: Any, chance: tuple[Any, dict[str, Any]]) -> Any:
    """The same space with these random numbers."""
    found = copy.copy(space)
    found._np_random = copy.deepcopy(chance[0])
    if chance[1]:
        found.spaces = {
            name: with_chance(inner, chance[1][name]) for name, inner in space.spaces.items()
        }
    return found
