"""Observations as one vector: the mask of actions and chosen fields, each within -1 ... 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from m890sim.judge.arguments import sequence_of
from m890sim.messages import described

MASK = "action_mask"

Vector = np.ndarray[Any, np.dtype[np.float32]]


class Flattening:
    """Chosen fields of a Dict space, one after another, each divided by the largest size that its
    space gives it; the field "action_mask" is the mask, `actions` numbers.

    fields: names, in the order in which they follow; the mask, then all by name where None.
    Raises: TypeError for fields that are no bounded Box, ValueError for unknown or repeated ones.
    """

    def __init__(
        self, space: spaces.Dict, actions: int, fields: Sequence[str] | None = None
    ) -> None:
        known = space.spaces
        if fields is None:
            fields = (MASK, *sorted(known))
        if isinstance(fields, str):
            raise TypeError(f"fields must be names of fields, not {described(fields)}")
        self.fields: tuple[str, ...] = tuple(sequence_of("fields", fields, "names of fields"))
        self.actions = actions
        low, high, scales = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, dtype=np.float32)]
        for name in self.fields:
            if name == MASK:
                low.append(np.zeros(actions))
                high.append(np.ones(actions))
                scales.append(np.ones(actions, dtype=np.float32))
                continue
            if not isinstance(name, str) or name not in known:
                names = ", ".join((MASK, *sorted(known)))
                raise ValueError(f"fields may have {names}, not {described(name)}")
            field = known[name]
            if not isinstance(field, spaces.Box) or not field.is_bounded():
                raise TypeError(
                    f"every field of the observation must be a bounded Box, {name} is {field!r:.60}"
                )
            own_low, own_high = field.low.astype(np.float64), field.high.astype(np.float64)
            size = np.maximum(np.maximum(abs(own_low), abs(own_high)), 1e-9).ravel()
            low.append(own_low.ravel() / size)
            high.append(own_high.ravel() / size)
            scales.append((1 / size).astype(np.float32))
        if len(set(self.fields)) < len(self.fields):
            raise ValueError(f"fields must name each once, not {', '.join(self.fields)}")
        self.scale = np.concatenate(scales)
        self.space = spaces.Box(
            np.concatenate(low).astype(np.float32), np.concatenate(high).astype(np.float32)
        )

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        return len(self.scale)

    def vector(self, observation: Mapping[str, Any], mask: np.ndarray[Any, Any]) -> Vector:
        """The vector of an observation, float32 (size,)."""
        found = np.empty(self.size, dtype=np.float32)
        if self.fields:
            parts = [(mask if name == MASK else observation[name]).ravel() for name in self.fields]
            np.concatenate(parts, out=found, casting="unsafe")
            found *= self.scale
        return found
