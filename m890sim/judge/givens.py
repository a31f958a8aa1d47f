"""Inputs of the gate and what they should give, kept: a search asks for the same ones each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np

from m890sim.judge.gates import Array
from m890sim.workloads import Case

MOST_BYTES = 256 * 2**20  # that a process keeps


class Givens:
    """Inputs of one case, seed and distribution, as `Case.make_inputs` gives them, read-only."""

    __slots__ = ("_case", "_whole", "inputs")

    def __init__(self, case: Case, seed: int, distribution: str) -> None:
        self._case = case
        self._whole: Array | None = None
        inputs = case.make_inputs(seed, distribution)
        for value in inputs.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        self.inputs: Mapping[str, Any] = MappingProxyType(inputs)

    def expected(self, rows: Array | None) -> Array:
        """The fp64 oracle's output on these inputs; rows: as for `Case.oracle`.

        All rows are worked out once; they are read-only.
        """
        if rows is not None:
            return self._case.oracle(self.inputs, rows)
        if self._whole is None:
            self._whole = self._case.oracle(self.inputs)
            self._whole.setflags(write=False)
        return self._whole

    @property
    def n_bytes(self) -> int:
        """Bytes of the arrays that are held."""
        held = [*self.inputs.values(), self._whole]
        return sum(value.nbytes for value in held if isinstance(value, np.ndarray))


class Store:
    """The givens that were asked for last, while they are of so many bytes at most."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[tuple[Case, int, str], Givens] = OrderedDict()
        self._lock = Lock()

    def get(self, case: Case, seed: int, distribution: str) -> Givens:
        """The givens, made where they are not kept."""
        key = (case, seed, distribution)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = Givens(case, seed, distribution)
        with self._lock:
            self._kept[key] = found
            self._kept.move_to_end(key)
            # Outputs that were worked out since count as well.
            total = sum(each.n_bytes for each in self._kept.values())
            while total > self.most_bytes:
                _, oldest = self._kept.popitem(last=False)
                total -= oldest.n_bytes
        return found


STORE = Store(MOST_BYTES)
