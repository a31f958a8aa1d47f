"""Does it matter, on floats, what a kernel computes outside of the algebra.

A difference that depends on something outside may come from it alone: a polynomial is no
exponential. Where what is outside hardly moves the result, it explains nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from m890sim.execute import FloatDomain, execute_kernel
from m890sim.execute.scalars import Env, Site
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case, Task, launch_arguments

LEAST = 1e-3  # a row's relative change that counts
_BENT = 1.5  # what is outside deviates from its mean by so much more


def matters(kernel: Kernel, task: Task, case: Case, seed: int, places: frozenset[str]) -> bool:
    """Whether the results of instructions at these places (`Site.named`) move the output.

    On `normal` and `peaked` inputs their deviations from their means are made larger by half; a
    row that moves by a thousandth, or is not finite, is enough. Raises: as `execute_kernel`.
    """
    for distribution in ("normal", "peaked"):
        inputs = case.make_inputs(seed, distribution)
        arguments = launch_arguments(kernel, case, inputs)
        seen = _Bent(places, {})
        plain = execute_kernel(kernel, *arguments, domain=seen).outputs
        bent = execute_kernel(kernel, *arguments, domain=_Bent(places, seen.means())).outputs
        for name in task.outputs:
            a, b = (np.asarray(run[name], np.float64) for run in (plain, bent))
            if not (np.isfinite(a).all() and np.isfinite(b).all()):
                return True
            moved, size = (np.sqrt((x * x).sum(axis=-1)) for x in (a - b, a))
            if (moved > LEAST * size).any():
                return True
    return False


class _Bent(FloatDomain):
    """Floats without rounding to a dtype; results at some places are noted, or bent."""

    batches = False  # each write must know its place

    def __init__(self, places: frozenset[str], means: dict[str, float]) -> None:
        super().__init__()
        self._places, self._means = places, means
        self._sums: dict[str, tuple[float, int]] = {}
        self._site: Site | None = None

    def enter(self, site: Site, env: Env) -> None:
        """The executor runs this instruction next."""
        self._site = site

    def means(self) -> dict[str, float]:
        """Mean of the finite results at each place."""
        return {place: total / count for place, (total, count) in self._sums.items() if count}

    def write(self, target: Any, value: Any, dtype: str | None) -> None:
        place = "" if self._site is None else self._site.named
        if place in self._places:
            value = np.asarray(value, np.float32)
            finite = np.isfinite(value)
            if place in self._means:
                mean = np.float32(self._means[place])
                value = np.where(finite, mean + np.float32(_BENT) * (value - mean), value)
            else:
                total, count = self._sums.get(place, (0.0, 0))
                found = value[finite]
                self._sums[place] = total + float(found.sum(dtype=np.float64)), count + found.size
        super().write(target, value, None)
