"""TASKS: the attention tasks, their cases and the parameters that their kernels may name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from m890sim.errors import TaskError
from m890sim.kernel.ir import Const, Expr, Kernel, Name, Op, Param
from m890sim.workloads.case import Case
from m890sim.workloads.registry import load_kernel, unknown


@dataclass(frozen=True)
class Task:
    """A task: what kernels compute, on which cases, and how right they must be."""

    name: str
    text: str
    params: tuple[Param, ...]  # what a kernel may name; tunables are the kernel's own
    outputs: tuple[str, ...]  # tensors that a kernel must store
    cases: tuple[Case, ...]
    reference_name: str  # keys of registry.KERNELS
    expert_name: str
    allowed_dtypes: tuple[str, ...] = ("bf16", "f16", "f32")  # of anything in a kernel
    tolerance: float = 0.01  # largest relative L2 error of a row of the output against fp64

    @cached_property
    def reference(self) -> Kernel:
        """The kernel whose cycles a speedup is measured against."""
        return load_kernel(self.reference_name)

    @cached_property
    def expert(self) -> Kernel:
        """The best kernel of this package."""
        return load_kernel(self.expert_name)

    def case(self, name: str) -> Case:
        """The case of that name. Raises: TaskError with the nearest names for an unknown one."""
        for case in self.cases:
            if case.name == name:
                return case
        names = [case.name for case in self.cases]
        raise TaskError(unknown(f"case of task {self.name}", name, names))


def _dim(text: str) -> Expr:
    name, plus, number = text.partition(" + ")
    return Op("+", (Name(name), Const(int(number)))) if plus else Name(name)


def _tensor(name: str, *dims: str) -> Param:
    return Param(name, "tensor", tuple(_dim(dim) for dim in dims), "bf16")


def _table(name: str, dim: str) -> Param:
    return Param(name, "table", (_dim(dim),))


_CACHE = (_tensor("k_cache", "S", "HKV", "D"), _tensor("v_cache", "S", "HKV", "D"))
_SCALE = Param("scale", "scalar")


def _extend(
    name: str,
    cached: int,
    new: int,
    heads: tuple[int, int],
    text: str,
    elements: int = 128,
    shuffled: bool = False,
) -> Case:
    return Case(name, "extend", (cached,), (new,), *heads, elements, 16, shuffled, text)


_RAGGED = (1, 2, 5, 16, 31, 64, 127, 200, 333, 512, 777, 1024, 1500, 2047, 3000, 4096)

EXTEND = Task(
    "extend",
    "Causal attention of new tokens over a paged prefix and themselves; prefill without one.",
    (
        _tensor("q", "T", "HQ", "D"),
        _tensor("k", "T", "HKV", "D"),
        _tensor("v", "T", "HKV", "D"),
        *_CACHE,
        _tensor("o", "T", "HQ", "D"),
        _table("qo_indptr", "B + 1"),
        _table("kv_indptr", "B + 1"),
        _table("kv_indices", "P"),
        Param("max_extend", "size"),
        Param("max_prefix", "size"),
        _SCALE,
    ),
    ("o",),
    (
        _extend("prefill-256", 0, 256, (4, 4), "a short prompt", 64),
        _extend("prefill-1024", 0, 1024, (8, 2), "a prompt, four query heads a key head"),
        _extend("prefill-2048", 0, 2048, (8, 8), "a long prompt, every head its own keys"),
        _extend(
            "extend-1920+128", 1920, 128, (8, 2), "the next chunk of a long prompt, pages in order"
        ),
        Case(
            "extend-ragged",
            "extend",
            (8, 16, 32, 64, 1000),
            (1, 7, 13, 129, 300),
            8,
            2,
            64,
            1,
            True,
            "five sequences of unlike lengths, page size 1, shuffled",
        ),
        _extend(
            "extend-512+512",
            512,
            512,
            (8, 2),
            "half cached, half new, shuffled pages of 16",
            shuffled=True,
        ),
    ),
    "attention_reference",
    "attention_expert",
)

DECODE = Task(
    "decode",
    "Attention of one new token a sequence over its paged cache, its own key included.",
    (
        _tensor("q", "B", "HQ", "D"),
        *_CACHE,
        _tensor("o", "B", "HQ", "D"),
        _table("kv_indptr", "B + 1"),
        _table("kv_indices", "P"),
        Param("max_length", "size"),
        _SCALE,
    ),
    ("o",),
    (
        Case(
            "decode-4x8192",
            "decode",
            (8192,) * 4,
            (1,) * 4,
            8,
            2,
            128,
            16,
            True,
            "few long sequences, pages of 16",
        ),
        Case(
            "decode-ragged",
            "decode",
            # Long and short neighbours: the order of the sequences must not balance the cores by
            # itself.
            tuple(_RAGGED[(5 * i + 3) % 16] for i in range(16)),
            (1,) * 16,
            8,
            8,
            128,
            16,
            True,
            "sixteen sequences of 1 to 4,096 tokens, pages of 16",
        ),
        Case(
            "decode-1x16384",
            "decode",
            (16384,),
            (1,),
            16,
            2,
            128,
            64,
            True,
            "one very long sequence, pages of 64",
        ),
    ),
    "decode_reference",
    "decode_expert",
)

TASKS: dict[str, Task] = {task.name: task for task in (EXTEND, DECODE)}


def get_task(name: str) -> Task:
    """The task of that name. Raises: TaskError with the nearest names for an unknown one."""
    if name not in TASKS:
        raise TaskError(unknown("task", name, list(TASKS)))
    return TASKS[name]
