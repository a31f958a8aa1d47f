"""Cached gate inputs and their expected outputs: a search asks for the same ones each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np

from m890sim.judge.gates import Array
from m890sim.workloads import Case
from m890sim.workloads.inputs.draft import forget_draws

# That a process keeps. The training gate of `extend` goes through 264 MiB, one after another: with
# less than that, what it asks for is always what was let go last.
MOST_BYTES = 384 * 2**20
MOST_MASKS = 4  # choices of rows that are remembered for one draw of inputs


class Givens:
    """Inputs of one case, seed and distribution, as `Case.shared_inputs` gives them, read-only.

    rows: those of the output that will be looked at, None for all: others may have other inputs.
    """

    __slots__ = ("_case", "_lifted", "_named", "_rows", "_whole", "inputs")

    def __init__(self, case: Case, seed: int, distribution: str, rows: Array | None = None) -> None:
        self._case = case
        self._whole: Array | None = None
        self._rows: dict[bytes, Array] = {}
        self._lifted: dict[tuple[str, str], Array] = {}
        self._named: dict[bytes, Mapping[str, Array]] = {}
        inputs = case.shared_inputs(seed, distribution, rows)
        for value in inputs.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        self.inputs: Mapping[str, Any] = MappingProxyType(inputs)

    def lifted(self, dtypes: Mapping[str, str]) -> dict[str, Array]:
        """Inputs by name, rounded to these dtypes: as a run takes them."""
        from m890sim.execute import FloatDomain
        from m890sim.workloads.inputs import is_known_bf16

        for key in dtypes.items():
            if key not in self._lifted:
                name, dtype = key
                value = self.inputs[name]
                if dtype == "bf16" and is_known_bf16(value):
                    self._lifted[key] = value  # as `lift` finds too, by looking at all of it
                else:
                    self._lifted[key] = FloatDomain().lift(name, value, dtype)
        return {name: self._lifted[name, dtype] for name, dtype in dtypes.items()}

    def expected(self) -> Array:
        """The fp64 oracle's output on these inputs, worked out once; read-only."""
        if self._whole is None:
            self._whole = self._case.oracle(self.inputs)
            self._whole.setflags(write=False)
        return self._whole

    def expected_rows(self, rows: Array) -> Array:
        """The rows of the oracle's output that a mask chooses, float64 [rows, columns]."""
        key = rows.tobytes()
        if key not in self._rows:
            if len(self._rows) >= MOST_MASKS:
                self._rows.clear()
            if self._whole is not None:
                self._rows[key] = self._whole[rows]
            else:
                self._rows[key] = self._case.oracle(self.inputs, rows)[rows]
            self._rows[key].setflags(write=False)
        return self._rows[key]

    def outputs(self, masks: Mapping[str, Array | None]) -> Mapping[str, Array]:
        """The oracle's outputs by name: where a mask (bool) is given, the rows that it chooses.

        Raises: as `Case.oracles`.
        """
        whole = all(mask is None for mask in masks.values())
        key = b"" if whole else b"|".join(b"" if m is None else m.tobytes() for m in masks.values())
        if key not in self._named:
            rows = None
            if not whole:
                rows = {
                    name: np.ones(self._case.shape_of(name)[:-1], bool) if mask is None else mask
                    for name, mask in masks.items()
                }
            found = self._case.oracles(self.inputs, rows)
            if found is None:  # one oracle for every output
                one = {
                    name: self.expected() if mask is None else self.expected_rows(mask)
                    for name, mask in masks.items()
                }
                return one
            if len(self._named) >= MOST_MASKS:
                self._named.clear()
            for value in found.values():
                value.setflags(write=False)
            self._named[key] = found
        return self._named[key]

    @property
    def n_bytes(self) -> int:
        """Bytes of the arrays that are held."""
        # What is lifted is nearly always the input itself.
        held = [*self.inputs.values(), self._whole, *self._rows.values()]
        held += [value for found in self._named.values() for value in found.values()]
        return sum(value.nbytes for value in held if isinstance(value, np.ndarray))


_Key = tuple[Case, int, str, bytes]


class Store:
    """The givens that were asked for last, while they are of so many bytes at most."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[_Key, Givens] = OrderedDict()
        self._sizes: dict[_Key, int] = {}  # as they were counted last
        self._total = 0
        self._last: _Key | None = None
        self._lock = Lock()

    def get(self, case: Case, seed: int, distribution: str, rows: Array | None = None) -> Givens:
        """The givens for these rows of the output (None: all), made where they are not kept."""
        key = (case, seed, distribution, b"" if rows is None else rows.tobytes())
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = Givens(case, seed, distribution, rows)
        with self._lock:
            self._kept[key] = found
            self._kept.move_to_end(key)
            # Who asked last has worked out its outputs since; they count as well.
            if self._last is not None:
                self._count(self._last)
            self._count(key)
            self._last = key
            while self._total > self.most_bytes:
                oldest, _ = self._kept.popitem(last=False)
                self._total -= self._sizes.pop(oldest)
        return found

    def forget(self, cases: Iterable[Case]) -> None:
        """Drop what is kept of cases that nobody asks about any more, with its draws."""
        gone = set(cases)
        forget_draws(gone)
        with self._lock:
            for key in [key for key in self._kept if key[0] in gone]:
                del self._kept[key]
                self._total -= self._sizes.pop(key, 0)

    def _count(self, key: _Key) -> None:
        kept = self._kept.get(key)
        if kept is not None:
            size = kept.n_bytes
            self._total += size - self._sizes.get(key, 0)
            self._sizes[key] = size


STORE = Store(MOST_BYTES)
