"""prove: is a kernel equal to its task's definition, over random finite fields.

docs/equivalence.md says what an answer means.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from m890sim.errors import BindError, ExecutionError, LimitError
from m890sim.judge.outside import Doubt, beyond, dispel
from m890sim.judge.weight import matters
from m890sim.kernel import ir
from m890sim.workloads import Case, Task, launch_arguments
from m890sim.workloads.task import tensor_shapes

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldDomain, FieldValue, OpaqueDomain

REDRAWS = 16  # draws in which a root or a quotient is missing, before the answer is "not decided"
COINCIDENCE = 4.0  # / P: measured on small primes, a wrong element agrees with 0.13 / P to 3.3 / P


@dataclass(frozen=True, slots=True)
class Equivalence:
    """What a proof found.

    answer: "equivalent", "different" or "not decided". error_probability: at most the chance that
    a kernel which differs got the answer "equivalent"; 1.0 for the other answers. reason: what was
    found, in one line. output, element: the first output element that differs. instruction: the one
    that stored it, or the one whose result has no value in the field. assumed: guards that never
    had an effect in runs on floats, and were taken as absent. narrowed: whether the rows had fewer
    elements, as `Case.narrowed` says.
    """

    answer: str
    error_probability: float
    reason: str
    output: str = ""
    element: tuple[int, ...] | None = None
    instruction: str = ""
    assumed: tuple[str, ...] = ()
    narrowed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "answer": self.answer,
            "equivalent": self.answer == "equivalent",
            "error_probability": self.error_probability,
            "reason": self.reason,
            "output": self.output,
            "element": None if self.element is None else list(self.element),
            "instruction": self.instruction,
            "assumed": list(self.assumed),
            "narrowed": self.narrowed,
        }


def prove(kernel: ir.Kernel, task: Task, case: Case, *, seed: int, draws: int = 2) -> Equivalence:
    """Run the kernel and the task's definition on random values of random fields, and compare.

    seed: fixes primes, roots, symbols and inputs; choose it after the kernel is fixed. draws: how
    many fields, at least 1; in each, maxima are sums once and follow a random order once.
    Where the kernel does the same on the narrowed case, that is run; a difference found there is
    looked for on the whole case. Raises: ValueError for draws below 1.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    places: set[str] = set()
    try:
        guards = inactive_guards(kernel, task, case, seed)
        narrow = _narrowed(kernel, task, case)
        if narrow is not None:
            found = _prove(kernel, task, narrow, seed, draws, guards, places)
            if found.answer == "equivalent":
                return replace(found, narrowed=True)
        found = _prove(kernel, task, case, seed, draws, guards, places)
        if found.answer != "not decided" or not places:
            return found
        if matters(kernel, task, case, seed, frozenset(places)):
            return found
        reason = f"{found.reason}, which hardly moves the output on floats"
        return replace(found, answer="different", reason=reason)
    except ExecutionError as trap:
        return Equivalence("different", 1.0, f"the kernel traps: {trap}", instruction=trap.where)
    except (BindError, LimitError) as trap:
        return Equivalence("not decided", 1.0, str(trap))


def _narrowed(kernel: ir.Kernel, task: Task, case: Case) -> Case | None:
    """The narrowed case, where the kernel does the same on both."""
    from m890sim.judge.shadow import does_the_same

    narrow = case.narrowed()
    if narrow is None:
        return None
    try:
        return narrow if does_the_same(kernel, task, case, narrow) else None
    except (ExecutionError, BindError, LimitError):
        return None


def inactive_guards(kernel: ir.Kernel, task: Task, case: Case, seed: int) -> frozenset[str]:
    """Places of maxima and minima with a finite number that have no effect in runs on floats.

    Only kernels that have one are run.
    """
    from m890sim.judge.watch import watch

    numbers = [
        stmt
        for stmt in ir.walk(kernel.body)
        if isinstance(stmt, ir.Instr) and stmt.op in ("max", "min") and _finite(stmt.operands[2])
    ]
    if not numbers:
        return frozenset()
    found = [watch(kernel, task, case, seed, name) for name in ("normal", "peaked")]
    active = frozenset().union(*(each.active for each in found))
    return frozenset().union(*(each.guards for each in found)) - active


def _finite(operand: Any) -> bool:
    from m890sim.execute.fields.numbers import FAR, literal

    if isinstance(operand, (ir.TileRef, ir.TensorRef)):
        return False
    value = literal(operand)
    return value is None or abs(value) < FAR


def _prove(
    kernel: ir.Kernel,
    task: Task,
    case: Case,
    seed: int,
    draws: int,
    guards: frozenset[str],
    places: set[str],
) -> Equivalence:
    """places: gets the instructions outside of the algebra where the answer is "not decided"."""
    from m890sim.execute.fields import Redraw

    error, left, attempt = 1.0, draws, 0
    while left:
        stream = [seed, zlib.crc32(case.name.encode()), 0x616C67, attempt]
        random = np.random.Generator(np.random.PCG64(stream))
        attempt += 1
        try:
            found = _draw(kernel, task, case, random, guards, places)
        except Redraw as missing:
            if attempt > draws + REDRAWS:
                return Equivalence("not decided", 1.0, str(missing), instruction=missing.where)
            continue
        if isinstance(found, Equivalence):
            return found
        error *= found
        left -= 1
    reason = f"every element agrees in {draws} draw{'s' if draws > 1 else ''}"
    return Equivalence("equivalent", error, reason, assumed=tuple(sorted(guards)))


def _draw(
    kernel: ir.Kernel,
    task: Task,
    case: Case,
    random: np.random.Generator,
    guards: frozenset[str],
    places: set[str],
) -> Equivalence | float:
    """One field, both modes; the chance of a coincidence where all elements agree.

    Raises: Redraw where the definition divides by 0.
    """
    from m890sim.execute import execute_kernel
    from m890sim.execute.fields import Field, FieldDomain, Redraw

    field = Field(random)
    for param in task.params:
        if param.kind == "scalar":
            field.symbol(param.name)
    tensors = {
        name: field.draw(shape)
        for name, shape in tensor_shapes(task, case).items()
        if name not in task.outputs
    }
    right = case.specification(field, tensors)
    if right is None:
        return Equivalence("not decided", 1.0, f"task {task.name!r} has no definition over a field")
    expected = right if isinstance(right, Mapping) else {task.outputs[0]: right}
    for value in expected.values():
        if (np.isnan(value.p) & np.isnan(value.q)).any():
            raise Redraw("the definition divides by 0")
    arguments = launch_arguments(kernel, case, {**case.tables, **case.scalars, **tensors})
    modes: tuple[Any, ...] = ("sum", "order")
    for mode in modes:
        domain = FieldDomain(field, mode, guards)
        run = execute_kernel(kernel, *arguments, domain=domain)
        doubts = {}
        for name, value in expected.items():
            missing = ~run.written[name]
            if missing.any():
                return _different(name, missing, "is never written")
            doubts[name] = _compare(run.outputs[name], value, field)
        opaque = None
        unknown = any(each.unknown.any() for each in doubts.values())
        wrong = any(each.wrong.any() for each in doubts.values())
        if unknown or (wrong and (domain.roots or _has_numbers(kernel))):
            again = partial(_opaque_run, kernel, arguments, domain, random)
            doubts, opaque = dispel(again, expected, field, doubts)
        for name, doubt in doubts.items():
            if doubt.wrong.any():
                stored = partial(domain.stored, run.outputs[name])
                return _different(name, doubt.wrong, "differs", mode, stored)
        for name, doubt in doubts.items():
            if doubt.unknown.any():
                places |= domain.places
                return _undecided(name, doubt.unknown, domain, opaque)
    return COINCIDENCE / field.P.n


def _opaque_run(
    kernel: ir.Kernel,
    arguments: Any,
    domain: FieldDomain,
    random: np.random.Generator,
    signs: bool,
) -> tuple[OpaqueDomain, Mapping[str, FieldValue]]:
    from m890sim.execute import execute_kernel
    from m890sim.execute.fields import OpaqueDomain

    opaque = OpaqueDomain(domain, random, signs)
    return opaque, execute_kernel(kernel, *arguments, domain=opaque).outputs


def _compare(actual: FieldValue, expected: FieldValue, field: Field) -> Doubt:
    """The elements that differ from the definition, and those that have no value in the field."""
    wrong, decided = (np.zeros(actual.shape, bool) for _ in range(2))
    for modulus, a, b in ((field.P, actual.p, expected.p), (field.Q, actual.q, expected.q)):
        both = ~(np.isnan(a) | np.isnan(b))
        decided |= both
        wrong |= both & (modulus.canonical(a) != modulus.canonical(b))
    finite = ~beyond(actual)
    return Doubt(wrong & finite, ~(decided & finite))


def _different(
    name: str,
    wrong: NDArray[np.bool_],
    what: str,
    mode: str = "",
    stored: Callable[[tuple[int, ...]], str] | None = None,
) -> Equivalence:
    element = _place(wrong)
    text = f"{name}{list(element)} {what}"
    if (count := int(wrong.sum())) > 1:
        text += f", as {count - 1:,} more of {wrong.size:,} elements do"
    if mode:
        text += f" (maxima as {_MODES[mode]})"
    place = "" if stored is None else stored(element)
    return Equivalence("different", 1.0, text, name, element, place)


def _undecided(
    name: str, unknown: NDArray[np.bool_], domain: FieldDomain, opaque: OpaqueDomain | None
) -> Equivalence:
    """Why an element is not decided. Raises: Redraw where another draw may have the roots."""
    from m890sim.execute.fields import Redraw

    if domain.rootless:
        text = f"draw after draw has no such root: {domain.rootless}"
        raise Redraw(text, domain.rootless)
    element = _place(unknown)
    place, what = "", "has no value in the field"
    if opaque is not None and opaque.polynomial is not None:
        place = opaque.polynomial.where
        what = f"differs, but depends on numbers of its own, as a polynomial does, at {place}"
    elif domain.outside is not None:
        place = domain.outside.where
        what += f": {domain.outside.what} at {place}"
    elif domain.roots:
        place = domain.roots
        what = f"differs, but depends on a root, whose sign is a choice in the field, at {place}"
    text = f"{name}{list(element)} {what}"
    return Equivalence("not decided", 1.0, text, name, element, place)


def _place(where: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(n) for n in np.argwhere(where)[0])


_MODES = {"sum": "sums", "order": "a random order"}


def _has_numbers(kernel: ir.Kernel) -> bool:
    """Whether it computes with finite numbers of its own; where not, no polynomial is possible."""
    from m890sim.execute.fields.numbers import FAR, literal

    for stmt in ir.walk(kernel.body):
        if not isinstance(stmt, ir.Instr) or stmt.op not in _ARITHMETIC:
            continue
        for operand in stmt.operands:
            if isinstance(operand, (ir.Const, ir.Name, ir.Op)):
                value = literal(operand)
                if value is not None and 0 < abs(value) < FAR:
                    return True
    return False


_ARITHMETIC = ("add", "sub", "mul", "div", "fma", "fill")
