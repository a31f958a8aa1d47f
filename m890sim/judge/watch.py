"""Watching a run on floats for maxima that are none, and trying inputs bent that way.

In a right kernel the arguments of exponentials are never above 0 and a sum of weights is never
below 1, because the maximum is subtracted first. Any maximum cancels in exact arithmetic, so exact
equivalence cannot see a wrong one; the watch points at it, and the verdict rests on a wrong output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.execute import FloatDomain, execute_kernel
from m890sim.execute.scalars import Env, Site
from m890sim.judge.bends import bend
from m890sim.judge.gates import check_output
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case, Task, launch_arguments

ARGUMENT = 0.5  # the largest argument of e ** x that rounding alone explains
DIVISORS = ("recip", "rsqrt", "log2")  # functions by which a kernel can divide by a sum
TOTAL = 0.75  # the smallest sum of weights that rounding alone explains


@dataclass(frozen=True, slots=True)
class Pointing:
    """What a watched run showed.

    argument, argument_at: the largest argument of an exponential, as of e ** x, and its
    instruction. total, total_at: the smallest sum that something was divided by. guards: places of
    maxima and minima with a number; active: those of them that changed a value other than 0.
    """

    argument: float = -math.inf
    argument_at: str = ""
    total: float = math.inf
    total_at: str = ""
    guards: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()

    @property
    def too_small(self) -> bool:
        """Whether some maximum looks smaller than what it is subtracted from."""
        return self.argument > ARGUMENT

    @property
    def too_large(self) -> bool:
        """Whether some maximum looks larger than all it was taken of."""
        return self.argument_at != "" and self.total < TOTAL

    @property
    def text(self) -> str:
        """What it points at, "" where at nothing."""
        parts = []
        if self.too_small:
            parts.append(f"an exponential of {self.argument:.3g} at {self.argument_at}")
        if self.too_large:
            parts.append(f"a sum of weights of {self.total:.3g} at {self.total_at}")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class MaximaGate:
    """The gate on maxima.

    passed: no wrong output was found. reason: what was found, or else pointed at; "" for nothing.
    """

    passed: bool
    reason: str
    pointing: Pointing


def watch(
    kernel: Kernel, task: Task, case: Case, seed: int, distribution: str = "normal"
) -> Pointing:
    """Run the kernel on floats and note what its exponentials and quotients are taken of.

    Raises: ExecutionError where the kernel traps, BindError, LimitError.
    """
    domain = _Watch()
    inputs = case.make_inputs(seed, distribution)
    execute_kernel(kernel, *launch_arguments(kernel, case, inputs), domain=domain)
    return Pointing(
        domain.argument,
        domain.argument_at,
        domain.total,
        domain.total_at,
        frozenset(domain.guards),
        frozenset(domain.active),
    )


def check_maxima(kernel: Kernel, task: Task, case: Case, seed: int) -> MaximaGate:
    """Watch the kernel; where that points at a maximum, look for a wrong output on bent inputs.

    Raises: as `watch`.
    """
    pointing = Pointing()
    for distribution in ("normal", "peaked"):
        pointing = watch(kernel, task, case, seed, distribution)
        if pointing.text:
            break
    else:
        return MaximaGate(True, "", pointing)
    for name, inputs in bend(case, seed, pointing.too_small, pointing.too_large):
        wrong = _wrong(kernel, task, case, inputs)
        if wrong:
            reason = f"with {name}: {wrong}; the run on ordinary inputs showed {pointing.text}"
            return MaximaGate(False, reason, pointing)
    return MaximaGate(
        True, f"no bent input makes an output wrong, though {pointing.text}", pointing
    )


def _wrong(kernel: Kernel, task: Task, case: Case, inputs: Mapping[str, Any]) -> str:
    """What is wrong of the kernel's outputs against the oracle, "" if nothing is."""
    run = execute_kernel(kernel, *launch_arguments(kernel, case, inputs))
    expected = case.oracles(inputs)
    if expected is None:
        expected = dict.fromkeys(task.outputs, case.oracle(inputs))
    for name in task.outputs:
        found = check_output(task.gate(name), run.outputs[name], expected[name])
        if not found.correct:
            return found.message
    return ""


class _Watch(FloatDomain):
    """Floats, with notes on exponentials, quotients and maxima with a number."""

    batches = False  # a note names the work item, and fused steps would pass it by

    def __init__(self) -> None:
        super().__init__()
        self.argument, self.argument_at = -math.inf, ""
        self.total, self.total_at = math.inf, ""
        self.guards: set[str] = set()
        self.active: set[str] = set()
        self._site: Site | None = None
        self._env: Env = []

    def enter(self, site: Site, env: Env) -> None:
        """The executor runs this instruction next."""
        self._site, self._env = site, env

    def _where(self) -> str:
        return "" if self._site is None else self._site.moment(self._env)

    def function(self, name: str, a: Any) -> Any:
        if name in ("exp", "exp2") and a.size:
            most = float(np.nanmax(a, initial=-np.inf)) * (1.0 if name == "exp" else math.log(2.0))
            if most > self.argument or not self.argument_at:
                self.argument, self.argument_at = most, self._where()
        if name in DIVISORS:
            self._divisor(a)
        return super().function(name, a)

    def div(self, a: Any, b: Any) -> Any:
        if np.ndim(b):
            self._divisor(b)
        return np.divide(a, b)

    def _divisor(self, a: Any) -> None:
        least = float(np.nanmin(a, initial=np.inf))
        if least < self.total:
            self.total, self.total_at = least, self._where()

    def maximum(self, a: Any, b: Any) -> Any:
        return self._guarded(np.maximum(a, b), a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return self._guarded(np.minimum(a, b), a, b)

    def _guarded(self, found: Any, a: Any, b: Any) -> Any:
        if not np.ndim(b) and self._site is not None:
            place = self._site.named
            self.guards.add(place)
            if place not in self.active and ((found != a) & (a != 0)).any():
                self.active.add(place)
        return found
