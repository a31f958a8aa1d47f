"""Edits: local rewrites of kernels that keep the meaning. `EDITS` is the table, append-only."""

from __future__ import annotations

from collections.abc import Iterator

from m890sim.errors import LanguageError, LimitError
from m890sim.garbage import uncollected
from m890sim.kernel import ir
from m890sim.language import check
from m890sim.schedule import legality
from m890sim.schedule.core.tree import node, sites
from m890sim.schedule.edit import (
    DEFAULT_CONTEXT,
    Argument,
    Context,
    Edit,
    EditError,
    EditSpec,
    Site,
    check_context,
    check_edit,
    check_kernel,
)
from m890sim.schedule.table import EDITS

__all__ = [
    "DEFAULT_CONTEXT",
    "EDITS",
    "Argument",
    "Context",
    "Edit",
    "EditError",
    "EditSpec",
    "Site",
    "apply",
    "candidates",
    "check_edit",
    "legal_edits",
    "offers",
    "rewrite",
]


def rewrite(kernel: ir.Kernel, edit: Edit, context: Context = DEFAULT_CONTEXT) -> ir.Kernel:
    """The changed kernel, by the edit's own preconditions alone.

    Raises: EditError for an unknown edit or a failed precondition; TypeError for what is no kernel,
    edit or context.
    """
    check_edit(edit)
    check_kernel(kernel)
    check_context(context)
    if edit.name not in EDITS:
        raise EditError(f"unknown edit {edit.name!r}; `m890 edits` lists them")
    changed = EDITS[edit.name].rewrite(kernel, edit.site, edit.argument, context)
    if changed == kernel:
        raise EditError(f"{edit} changes nothing")
    return changed


def apply(kernel: ir.Kernel, edit: Edit, context: Context = DEFAULT_CONTEXT) -> ir.Kernel:
    """The changed kernel, checked like one that a stranger wrote; the old kernel is untouched.

    Raises: EditError, saying which precondition failed and where.
    """
    changed = rewrite(kernel, edit, context)
    try:
        check(changed)
    except LanguageError as error:
        first = error.diagnostics[0]
        raise EditError(f"{edit}: the language refuses the result: {first.message}") from error
    except LimitError as error:
        raise EditError(f"{edit}: the result is too large: {error.detail}") from error
    return changed


def candidates(kernel: ir.Kernel, context: Context = DEFAULT_CONTEXT) -> Iterator[Edit]:
    """Edits worth trying, in the order of EDITS, then of the text; not all of them are legal.

    Raises: TypeError for what is no kernel or context.
    """
    check_kernel(kernel)
    check_context(context)
    places: list[tuple[Site, ir.Stmt | None]] = [((), None), *sites(kernel)]
    for name, spec in EDITS.items():
        for site, stmt in places:
            for argument in spec.arguments(kernel, site, stmt, context):
                yield Edit(name, site, argument)


def offers(kernel: ir.Kernel, edit: Edit, context: Context = DEFAULT_CONTEXT) -> bool:
    """Whether `candidates` has the edit. Raises: EditError where the kernel has no such site."""
    if edit.name not in EDITS:
        return False
    stmt = node(kernel, edit.site) if edit.site else None
    return edit.argument in EDITS[edit.name].arguments(kernel, edit.site, stmt, context)


@uncollected
def legal_edits(
    kernel: ir.Kernel, context: Context = DEFAULT_CONTEXT, name: str | None = None
) -> list[Edit]:
    """The candidates that apply; name: only those of one row of EDITS.

    What is found out is remembered for the nodes that it was found out about, so the kernel after
    an edit takes a fraction of the first one's time.
    Raises: TypeError for what is no kernel or context.
    """
    check_kernel(kernel)
    check_context(context)
    if name is None:
        return legality.legal_edits(EDITS, kernel, context)
    if name not in EDITS:
        raise EditError(f"unknown edit {name!r}; `m890 edits` lists them")
    return legality.legal_edits_of(EDITS, name, kernel, context)
