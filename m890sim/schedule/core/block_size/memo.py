"""What was found out about a tunable: by statement, and by all that stands around it."""

from __future__ import annotations

import itertools

from m890sim.kernel import ir
from m890sim.schedule.core.block_size.kinds import Kind

_Definition = tuple[ir.Stmt, int, Kind | None, ir.Expr | None, frozenset[int], bool]
_Other = tuple[tuple[object, ...], frozenset[int], bool, frozenset[str]]


class Known:
    """What was found out about the statements of kernels with the same parameters, for a tunable.

    A statement is known by its identity, which it is kept alive for, and by a number that stands
    for all definitions of scalars and scratch and all blocks around it.
    """

    def __init__(self, params: tuple[ir.Param, ...]) -> None:
        self.params = params
        self.numbers = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        self.envs: dict[tuple[object, ...], tuple[int, tuple[object, ...]]] = {}
        self.definitions: dict[tuple[int, int], _Definition] = {}
        self.others: dict[tuple[object, ...], _Other] = {}
        # Of instructions: what is kept alive, and what `whole` found, or its refusal.
        self.parts: dict[tuple[int, ...], tuple[tuple[object, ...], object]] = {}

    @property
    def size(self) -> int:
        """How many statements are known."""
        return len(self.others) + len(self.definitions) + len(self.parts)

    def env(self, env: int, name: str, *parts: object) -> int:
        """The number of a place behind a definition, or inside a block with that header."""
        key = (env, name, *map(id, parts))
        found = self.envs.get(key)
        if found is None:
            found = self.envs.setdefault(key, (next(self.numbers), parts))
        return found[0]
