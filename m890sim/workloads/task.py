"""Task: what kernels compute, on which cases, and how right they must be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from m890sim.chip import ChipSpec
from m890sim.digests import digest_of
from m890sim.errors import TaskError
from m890sim.kernel import digest as kernel_digest
from m890sim.kernel.ir import DTYPES, Const, Expr, Kernel, Name, Op, Param
from m890sim.messages import check_name, described
from m890sim.workloads.case import SEED_LIMIT, Case
from m890sim.workloads.hidden import MOST_CASES, HiddenCases
from m890sim.workloads.names import unknown
from m890sim.workloads.outputs import Output

if TYPE_CHECKING:
    from m890sim.language.limits import Limits

# The name of a hidden case says how it is drawn (`hidden.CaseDice.name`).
_HIDDEN = re.compile(r"hidden-(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,4})", re.ASCII)


@dataclass(frozen=True)
class Task:
    """A task: what kernels compute, on which cases, and how right they must be.

    Raises: TypeError, ValueError, naming the field, for a task that cannot be: one that no case
    decides, one whose tolerance lets anything pass.
    """

    name: str
    text: str
    params: tuple[Param, ...]  # what a kernel may name; tunables are the kernel's own
    outputs: tuple[str, ...]  # tensors that a kernel must store
    cases: tuple[Case, ...]
    reference_name: str  # keys of registry.KERNELS
    expert_name: str
    allowed_dtypes: tuple[str, ...] = ("bf16", "f16", "f32")  # of anything in a kernel
    tolerance: float = 0.01  # largest relative L2 error of a row of the output against fp64
    positive: tuple[str, ...] = ()  # Scalar parameters that are above 0 in every case
    hidden: HiddenCases | None = None  # what a final verdict draws; None: no hidden cases
    gates: tuple[Output, ...] = ()  # of outputs that are not held to `tolerance` row by row
    # Texts of the two kernels of a task from outside, whose names are in no table; "": built in.
    reference_text: str = ""
    expert_text: str = ""
    limits: Limits | None = None  # of a functional run by the judge; None: the usual ones
    code: str = ""  # digest of the files that a task from outside follows from
    # What gives the task in another process, as `/path/to/file.py:NAME`; "": its name does.
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Hold every field to its type and range; judges ask again, as fields may be tampered with.

        Raises: TypeError, ValueError.
        """
        for name in ("name", "reference_name", "expert_name"):
            if name != "expert_name" or self.expert_name != "":  # a task may have none
                check_name(name, getattr(self, name))
        for name in ("text", "reference_text", "expert_text", "code", "origin"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a text, not {described(getattr(self, name))}")
        for name, kind in (
            ("params", Param),
            ("outputs", str),
            ("cases", Case),
            ("allowed_dtypes", str),
            ("positive", str),
            ("gates", Output),
        ):
            entries = getattr(self, name)
            if type(entries) is not tuple or not all(isinstance(entry, kind) for entry in entries):
                raise TypeError(
                    f"{name} must be a tuple of {kind.__name__}, not {described(entries)}"
                )
        self._check_names()
        for case in self.cases:
            case.__post_init__()
        if not self.cases:
            raise ValueError("cases must hold at least one case, not none")
        if type(self.tolerance) is not float or not 0 < self.tolerance <= 1:
            error = TypeError if type(self.tolerance) is not float else ValueError
            raise error(
                "tolerance must be a float above 0 and at most 1, the error of a kernel that "
                f"gives zeros, not {described(self.tolerance)}"
            )
        if self.hidden is not None and not isinstance(self.hidden, HiddenCases):
            raise TypeError(f"hidden must be HiddenCases or None, not {described(self.hidden)}")
        if self.limits is not None:
            from m890sim.language.limits import Limits

            if not isinstance(self.limits, Limits):
                raise TypeError(f"limits must be Limits or None, not {described(self.limits)}")

    def _check_names(self) -> None:
        kinds = {param.name: param.kind for param in self.params}
        if not self.outputs:
            raise ValueError("outputs must name at least one tensor, not none")
        for place, kind, names in (
            ("outputs", "tensor", self.outputs),
            ("positive", "scalar", self.positive),
            ("gates", "tensor", tuple(gate.name for gate in self.gates)),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{place} must name each parameter once, not {described(names)}")
            for name in names:
                if kinds.get(name) != kind:
                    raise ValueError(
                        f"{place} must name {kind} parameters of the task, not {described(name)}"
                    )
        for gate in self.gates:
            if gate.name not in self.outputs:
                raise ValueError(f"gates must be of outputs, not of {described(gate.name)}")
        for name in self.allowed_dtypes:
            if name not in DTYPES:
                raise ValueError(
                    f"allowed_dtypes must be among {', '.join(DTYPES)}, not {described(name)}"
                )

    def __reduce_ex__(self, protocol: Any) -> Any:
        # What a task file holds is in no module that another process could import.
        if self.origin:
            from m890sim.workloads.tasks import get_task

            if get_task(self.origin) == self:
                return get_task, (self.origin,)
        return super().__reduce_ex__(protocol)

    @cached_property
    def reference(self) -> Kernel:
        """The kernel whose cycles a speedup is measured against."""
        return _kernel(self.reference_name, self.reference_text)

    def reference_on(self, chip: ChipSpec) -> Kernel:
        """The reference as it fits a chip: docs/chips.md, "References".

        Raises: BindError where its smallest tunables do not fit.
        """
        from m890sim.chip import CHIPS

        if self.reference_text:
            return self.reference if chip.name in CHIPS else _fitted(self, chip)
        from m890sim.workloads.registry import load_kernel

        return load_kernel(self.reference_name, chip)

    @cached_property
    def expert(self) -> Kernel:
        """The best kernel that comes with the task. Raises: TaskError where none does."""
        if not self.expert_name:
            raise TaskError(f"task {self.name} has no expert kernel; give it one as `expert`")
        return _kernel(self.expert_name, self.expert_text)

    def start_on(self, chip: ChipSpec) -> Kernel | str:
        """The reference as a session of the chip takes it: a built-in one by its name."""
        return self.reference_on(chip) if self.reference_text else self.reference_name

    def gate(self, output: str) -> Output:
        """How an output is judged."""
        for gate in self.gates:
            if gate.name == output:
                return gate
        return Output(output, "rows", self.tolerance)

    @property
    def digest(self) -> str:
        """Names the task by all that a result hangs on.

        Parameters, outputs, cases, dtypes, tolerance, the name of the generator of hidden cases,
        and the reference kernel itself.
        """
        named = {
            "name": self.name,
            "params": [(p.name, p.kind, p.dtype, repr(p.dims)) for p in self.params],
            "outputs": self.outputs,
            "cases": [case.digest for case in self.cases],
            "reference": (
                kernel_digest(self.reference)
                if self.reference_text
                else _kernel_digest(self.reference_name)
            ),
            "dtypes": self.allowed_dtypes,
            "tolerance": float(self.tolerance),
            "positive": self.positive,
            "hidden": None if self.hidden is None else self.hidden.name,
        }
        for name in ("gates", "limits", "code"):  # of tasks from outside; others keep their digests
            if getattr(self, name):
                named[name] = getattr(self, name)
        return digest_of(named)

    def hidden_cases(self, count: int, seed: int) -> tuple[Case, ...]:
        """Hidden cases 0 ... count - 1 of a seed, the same on every machine; docs/hidden.md.

        Raises: TaskError for a task without a generator, TypeError for what is no integer,
        ValueError for a number out of range.
        """
        return self._generator().cases(self.name, count, seed)

    def hidden_case(self, seed: int, index: int) -> Case:
        """Hidden case `index` of a seed alone. Raises: as `hidden_cases`."""
        return self._generator().case(self.name, seed, index)

    def _generator(self) -> HiddenCases:
        if self.hidden is None:
            raise TaskError(
                f"task {self.name} has no generator of hidden cases; ask for none (0, "
                "--hidden 0), or give it one (`hidden=` of define_task)"
            )
        return self.hidden

    def case(self, name: str) -> Case:
        """The public case of that name, or the hidden one of `hidden-SEED-INDEX`.

        Raises: TaskError with the nearest names for an unknown one.
        """
        for case in self.cases:
            if case.name == name:
                return case
        numbers = _HIDDEN.fullmatch(name) if isinstance(name, str) else None
        if numbers is not None and self.hidden is not None:
            seed, index = int(numbers[1]), int(numbers[2])
            if seed < SEED_LIMIT and index < MOST_CASES:
                drawn = self.hidden_case(seed, index)
                if drawn.name == name:
                    return drawn
        names = [case.name for case in self.cases]
        raise TaskError(unknown(f"case of task {self.name}", name, names))


def _kernel(name: str, text: str) -> Kernel:
    if text:
        from m890sim.language import parse

        return parse(text, filename=f"{name}.py")
    from m890sim.workloads.registry import load_kernel  # which knows the levels, so tasks

    return load_kernel(name)


@lru_cache(maxsize=256)
def _fitted(task: Task, chip: ChipSpec) -> Kernel:
    """The reference of a task from outside on a chip that is no preset."""
    from m890sim.workloads.fitting import fitted

    return fitted(task.reference, task, chip)


@cache
def _kernel_digest(name: str) -> str:
    """Of a built-in kernel, whose text does not change."""
    from m890sim.workloads.registry import load_kernel

    return kernel_digest(load_kernel(name))


_DIM = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)(?: *\+ *([0-9]{1,9}))?")


def _dim(text: str | int) -> Expr:
    if type(text) is int and 0 < text < 2**31:
        return Const(text)
    if type(text) not in (int, str):
        raise TypeError(f"a dimension must be a symbol or a number, not {described(text)}")
    found = _DIM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(
            "a dimension must be a symbol, a number of 1 ... 2**31 - 1, or 'symbol + number', not "
            f"{described(text)}"
        )
    name, number = found.groups()
    return Op("+", (Name(name), Const(int(number)))) if number else Name(name)


def _named(name: str) -> str:
    check_name("the name of a parameter", name)
    if not (name.isidentifier() and name.isascii()):
        raise ValueError(
            f"the name of a parameter must be letters, digits and _, not {described(name)}"
        )
    return name


def tensor(name: str, *dims: str | int, dtype: str = "bf16") -> Param:
    """A tensor parameter; a dimension is a symbol, a number, or "symbol + number".

    Raises: TypeError, ValueError for what is none, and for a tensor without dimensions.
    """
    if not dims:
        raise ValueError(
            f"tensor {described(name)} must have dimensions, as in tensor('x', 'R', 'C'); write 1 "
            "for a single number"
        )
    return Param(_named(name), "tensor", tuple(_dim(dim) for dim in dims), dtype)


def table(name: str, dim: str | int) -> Param:
    """A table parameter: integers that the launch gives."""
    return Param(_named(name), "table", (_dim(dim),))


def size(name: str) -> Param:
    """A size parameter: an integer of the case that is no tensor's dimension."""
    return Param(_named(name), "size")


def scalar(name: str) -> Param:
    """A scalar parameter: a float of the case."""
    return Param(_named(name), "scalar")


def tensor_shapes(task: Task, case: Case) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor parameter of the task on a case."""
    symbols = case.symbols
    return {
        param.name: tuple(_extent(dim, symbols) for dim in param.dims)
        for param in task.params
        if param.kind == "tensor"
    }


def _extent(dim: Expr, symbols: Mapping[str, int]) -> int:
    if isinstance(dim, Const):
        return int(dim.value)
    if isinstance(dim, Name):
        return symbols[dim.id]
    if isinstance(dim, Op) and dim.op == "+":
        return sum(_extent(arg, symbols) for arg in dim.args)
    raise TaskError(f"a dimension must be a symbol, a number or their sum, not {described(dim)}")
