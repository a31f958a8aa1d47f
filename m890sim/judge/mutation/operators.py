"""Operator: a mistake by name, and the kernels that it makes of a right one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from m890sim.errors import M890Error
from m890sim.judge.mutation.forms import Rewrite, anywhere, everywhere
from m890sim.kernel.ir import Kernel
from m890sim.language import check

Row = tuple[str, str, str, Rewrite]  # the fields of an Operator


@dataclass(frozen=True)
class Operator:
    """A mistake that can be made at certain places of a kernel."""

    name: str
    family: str
    text: str  # what is wrong then
    rewrite: Rewrite

    def mutants(self, kernel: Kernel) -> Iterator[Kernel]:
        """The kernel with the mistake at one place, for every place where the language allows it.

        In source order; none where the kernel has no such place.
        """
        for mutant in anywhere(kernel, self.rewrite):
            if _is_legal(mutant):
                yield mutant

    def everywhere(self, kernel: Kernel) -> Kernel:
        """The kernel with the mistake at all its places.

        Raises: ValueError where there is none, LanguageError where the language does not allow it.
        """
        mutant = everywhere(kernel, self.rewrite)
        if mutant == kernel:
            raise ValueError(f"{kernel.name} has no place for {self.name}")
        check(mutant)
        return mutant


def _is_legal(kernel: Kernel) -> bool:
    try:
        check(kernel)
    except M890Error:
        return False
    return True
