"""Task: what kernels compute, on which cases, and how right they must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from m890sim.chip import ChipSpec
from m890sim.digests import digest_of
from m890sim.errors import TaskError
from m890sim.kernel import digest as kernel_digest
from m890sim.kernel.ir import DTYPES, Const, Expr, Kernel, Name, Op, Param
from m890sim.messages import check_name, described
from m890sim.workloads.case import Case
from m890sim.workloads.hidden import HiddenCases
from m890sim.workloads.names import unknown


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

    def __post_init__(self) -> None:
        """Hold every field to its type and range; judges ask again, as fields may be tampered with.

        Raises: TypeError, ValueError.
        """
        for name in ("name", "reference_name", "expert_name"):
            check_name(name, getattr(self, name))
        if not isinstance(self.text, str):
            raise TypeError(f"text must be a text, not {described(self.text)}")
        for name, kind in (
            ("params", Param),
            ("outputs", str),
            ("cases", Case),
            ("allowed_dtypes", str),
            ("positive", str),
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

    def _check_names(self) -> None:
        kinds = {param.name: param.kind for param in self.params}
        if not self.outputs:
            raise ValueError("outputs must name at least one tensor, not none")
        for field, kind, names in (
            ("outputs", "tensor", self.outputs),
            ("positive", "scalar", self.positive),
        ):
            for name in names:
                if kinds.get(name) != kind:
                    raise ValueError(
                        f"{field} must name {kind} parameters of the task, not {described(name)}"
                    )
        for name in self.allowed_dtypes:
            if name not in DTYPES:
                raise ValueError(
                    f"allowed_dtypes must be among {', '.join(DTYPES)}, not {described(name)}"
                )

    @cached_property
    def reference(self) -> Kernel:
        """The kernel whose cycles a speedup is measured against."""
        from m890sim.workloads.registry import load_kernel  # which knows the levels, so tasks

        return load_kernel(self.reference_name)

    def reference_on(self, chip: ChipSpec) -> Kernel:
        """The reference as it fits a chip: docs/chips.md, "References".

        Raises: BindError where its smallest tunables do not fit.
        """
        from m890sim.workloads.registry import load_kernel

        return load_kernel(self.reference_name, chip)

    @cached_property
    def expert(self) -> Kernel:
        """The best kernel of this package."""
        from m890sim.workloads.registry import load_kernel

        return load_kernel(self.expert_name)

    @property
    def digest(self) -> str:
        """Names the task by all that a result hangs on.

        Parameters, outputs, cases, dtypes, tolerance, the name of the generator of hidden cases,
        and the reference kernel itself.
        """
        return digest_of(
            {
                "name": self.name,
                "params": [(p.name, p.kind, p.dtype, repr(p.dims)) for p in self.params],
                "outputs": self.outputs,
                "cases": [case.digest for case in self.cases],
                "reference": _kernel_digest(self.reference_name),
                "dtypes": self.allowed_dtypes,
                "tolerance": float(self.tolerance),
                "positive": self.positive,
                "hidden": None if self.hidden is None else self.hidden.name,
            }
        )

    def hidden_cases(self, count: int, seed: int) -> tuple[Case, ...]:
        """Hidden cases 0 ... count - 1 of a seed, the same on every machine; docs/hidden.md.

        Raises: TaskError for a task without a generator, TypeError for what is no integer,
        ValueError for a number out of range.
        """
        if self.hidden is None:
            raise TaskError(
                f"task {self.name} has no generator of hidden cases; give it one as Task.hidden"
            )
        return self.hidden.cases(self.name, count, seed)

    def case(self, name: str) -> Case:
        """The case of that name. Raises: TaskError with the nearest names for an unknown one."""
        for case in self.cases:
            if case.name == name:
                return case
        names = [case.name for case in self.cases]
        raise TaskError(unknown(f"case of task {self.name}", name, names))


@cache
def _kernel_digest(name: str) -> str:
    """Of a built-in kernel, whose text does not change."""
    from m890sim.workloads.registry import load_kernel

    return kernel_digest(load_kernel(name))


def _dim(text: str) -> Expr:
    name, plus, number = text.partition(" + ")
    return Op("+", (Name(name), Const(int(number)))) if plus else Name(name)


def tensor(name: str, *dims: str) -> Param:
    """A tensor parameter of bf16."""
    return Param(name, "tensor", tuple(_dim(dim) for dim in dims), "bf16")


def table(name: str, dim: str) -> Param:
    """A table parameter."""
    return Param(name, "table", (_dim(dim),))


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
