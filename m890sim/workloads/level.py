"""Level: a small task, with all that its kernels, its environment, tests and documents go by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from m890sim.workloads.case import Case
from m890sim.workloads.task import Task

# (input name -> nested lists of floats or a float) -> rows of the output
Definition = Callable[[Mapping[str, Any]], list[list[float]]]


@dataclass(frozen=True)
class LevelStep:
    """A kernel between a level's reference and its expert, one idea from the step before."""

    name: str  # the kernel's is LEVEL_NUMBER_name
    idea: str
    # Chip -> tunables there; the kernel file has those of m890.
    tuned: Mapping[str, Mapping[str, int]] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, kw_only=True)
class Level(Task):
    """A small task for a first hour and for fast training: a file of `levels/` and its kernels.

    Nothing else is written by hand: LEVELS, the kernels' rows, `M890/<Name>-v1` and its neighbours,
    the tests of all levels and the tables of the documents follow from this record.
    """

    number: int  # its place in LEVELS, from 0
    formula: str  # what it computes, as a document says it
    lesson: str  # what there is to learn
    ideas: tuple[str, str]  # what the reference and the expert are, one line each
    steps: tuple[LevelStep, ...]  # what lies between them on the level's ladder
    speedup: float  # the expert's least geometric mean of the cases on the chip m890
    tiny: Case  # for loops in Python: blocks of one row and in part, fewer rows than cores
    definition: Definition = field(compare=False)  # every element by itself, in Python's floats
    fixed_cases: tuple[str, ...]  # those of its environment, also when the level gains others
    # Symbol -> the most that a hidden case has, usually and in the one of eight that is long.
    lengths: Mapping[str, tuple[int, int]] = field(compare=False)
    # Products, exponentials, other elements of a case, and why no kernel does with fewer.
    bound: tuple[str, str, str, str]
    # Chip -> the expert's tunables there; the kernel file has those of m890.
    tuned: Mapping[str, Mapping[str, int]] = field(default_factory=dict, compare=False)

    def check(self) -> None:
        """Whether it holds together; not asked of copies, which may have other cases.

        Raises: TaskError, ValueError.
        """
        for name in self.fixed_cases:
            self.case(name)
        unknown = self.lengths.keys() - self.tiny.symbols.keys()
        if unknown:
            raise ValueError(f"lengths must name symbols of the cases, not {', '.join(unknown)}")
        if self.tiny.task != self.name:
            raise ValueError(f"tiny must be a case of {self.name}, not of {self.tiny.task}")

    @property
    def title(self) -> str:
        """The name as ids of environments have it: VectorAdd."""
        return "".join(word.capitalize() for word in self.name.split("_"))


def dot(a: list[float], b: list[float]) -> float:
    """The sum of products, for definitions."""
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def plain_softmax(logits: list[float]) -> list[float]:
    """The softmax, for definitions."""
    most = max(logits)
    weights = [math.exp(x - most) for x in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
