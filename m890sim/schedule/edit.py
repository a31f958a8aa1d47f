"""What an edit is: a frozen record, the row of the table that gives it meaning, and its refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from m890sim.errors import M890Error
from m890sim.kernel import ir

# Where an edit acts: positions of children from the kernel's body down (`ir.children` counts the
# `then` of an If before its `orelse`); () is the kernel itself.
Site = tuple[int, ...]
Argument = int | str | tuple[int | str, ...] | None


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a kernel: the name of a row of EDITS, where, and with what."""

    name: str
    site: Site = ()
    argument: Argument = None

    def __str__(self) -> str:
        place = ".".join(str(i) for i in self.site) or "kernel"
        return f"{self.name}({place}{'' if self.argument is None else f', {self.argument}'})"


class EditError(M890Error):
    """An edit that does not apply; the message says which precondition failed, and where."""


@dataclass(frozen=True, slots=True)
class Context:
    """What legality also depends on: the dtypes of the task, the queues and banks of the chip."""

    dtypes: tuple[str, ...] = ("bf16", "f16", "f32")
    queues: int = 4
    banks: int = 16


DEFAULT_CONTEXT = Context()


@dataclass(frozen=True, slots=True)
class EditSpec:
    """One row of EDITS.

    arguments: the arguments worth trying at a node (the kernel where `site` is ()), cheap and
    without a guarantee. rewrite: the changed kernel; raises EditError where a precondition fails.
    What rewrite returns passes the language's check and means the same; the docstring of `rewrite`
    shows before -> after.
    """

    name: str
    text: str  # the effect in one line
    arguments: Callable[[ir.Kernel, Site, ir.Stmt | None, Context], Iterable[Argument]]
    rewrite: Callable[[ir.Kernel, Site, Argument, Context], ir.Kernel]


def refuse(stmt: ir.Stmt | ir.Kernel | None, reason: str) -> EditError:
    """The error of a failed precondition at a statement."""
    if stmt is None or isinstance(stmt, ir.Kernel) or not stmt.loc.line:
        return EditError(reason)
    return EditError(f"line {stmt.loc.line}: {reason}")
