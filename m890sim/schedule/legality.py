"""The legal edits of a kernel, found from what is known of the kernels that it shares nodes with.

An edit leaves most nodes of a kernel as they are. What an edit's legality depends on is named by
its row (`EditSpec.scope`); while these objects are the same, so is the answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from m890sim.kernel import ir
from m890sim.schedule.core import tree
from m890sim.schedule.core.fingerprints import of_kernel
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.edit import (
    INSTRUCTIONS,
    Argument,
    Context,
    Edit,
    EditSpec,
    Scope,
    Site,
    head_of,
)

_MOST_CONTEXTS = 16
_HEADS = (*INSTRUCTIONS, "Kernel", "Let", "TileDecl", "HbmDecl", "Loop", "Stage", "If", "Cores")

_Row = tuple[int, EditSpec]
_Group = tuple[int, Scope | None, tuple[_Row, ...]]
_Legal = tuple[tuple[int, tuple[Argument, ...]], ...]  # numbers of rows, their legal arguments
_Edits = tuple[tuple[int, tuple[Edit, ...]], ...]  # the same, with the edits that they make
_Found = list[list[Edit]]  # by row

# Answers for one group of rows, in a context, at a statement whose scope is these objects.
_STATEMENTS: Memo[_Legal] = Memo()
# All edits of the rows that are not placing, by the kernel's token and the context.
_KERNELS: Memo[_Edits] = Memo()
# The edits of an answer at a site, by row: the same objects each time, as many sessions hold them.
_EDITS: Memo[_Edits] = Memo()


class _Table:
    """Rows by the head that they act on, those of one scope together; in the order of EDITS."""

    def __init__(self, edits: Mapping[str, EditSpec]) -> None:
        self.edits = edits
        self.names = tuple(edits)
        self.contexts: dict[Context, int] = {}
        self.placing = self._groups(True)
        self.others = self._groups(False)

    def _groups(self, placing: bool) -> dict[str, list[_Group]]:
        rows = [row for row in enumerate(self.edits.values()) if row[1].placing is placing]
        scopes: list[Scope | None] = []
        for _, spec in rows:
            if spec.scope not in scopes:
                scopes.append(spec.scope)
        found: dict[str, list[_Group]] = {}
        for head in _HEADS:
            found[head] = []
            for number, scope in enumerate(scopes):
                group = tuple(
                    row
                    for row in rows
                    if row[1].scope is scope and (row[1].heads is None or head in row[1].heads)
                )
                if group:
                    found[head].append((2 * number + placing, scope, group))
        return found

    def context_number(self, context: Context) -> int:
        """What stands for a context, and for this table, in keys: a number of its own."""
        found = self.contexts.get(context)
        if found is None:
            if len(self.contexts) >= _MOST_CONTEXTS:
                self.contexts = {}
            found = self.contexts[context] = next(_NUMBERS)
        return found


_NUMBERS = itertools.count(0, 1000)  # so that the number of a group can be added
_latest: _Table | None = None


def _table(edits: Mapping[str, EditSpec]) -> _Table:
    global _latest
    found = _latest
    if found is None or found.edits is not edits:
        found = _latest = _Table(edits)
    return found


def legal_edits(edits: Mapping[str, EditSpec], kernel: ir.Kernel, context: Context) -> list[Edit]:
    """The candidates of a table that apply, in the order of the table, then of the text."""
    table = _table(edits)
    found: _Found = [[] for _ in table.names]
    _find(table, table.placing, kernel, context, found)
    number = table.context_number(context)
    token = of_kernel(kernel)
    key = (id(token), number)
    shared = _KERNELS.answers.get(key)
    if shared is None:
        _find(table, table.others, kernel, context, found)
        part = tuple(
            (row, tuple(found[row]))
            for row, spec in enumerate(edits.values())
            if found[row] and not spec.placing
        )
        _KERNELS.keep(key, token, part)
    else:
        for row, known in shared[1]:
            found[row] += known
    return [edit for part in found for edit in part]


def legal_edits_of(
    edits: Mapping[str, EditSpec], name: str, kernel: ir.Kernel, context: Context
) -> list[Edit]:
    """Those of `legal_edits` that have this name, without asking about the others."""
    spec = edits[name]
    return [
        Edit(name, site, argument)
        for site, stmt in _places(kernel)
        if spec.heads is None or head_of(stmt) in spec.heads
        for _, arguments in _legal(((0, spec),), kernel, site, stmt, context)
        for argument in arguments
    ]


def _places(kernel: ir.Kernel) -> Iterator[tuple[Site, ir.Stmt | None]]:
    yield (), None
    yield from tree.index(kernel).nodes.items()


def _find(
    table: _Table,
    groups: Mapping[str, list[_Group]],
    kernel: ir.Kernel,
    context: Context,
    found: _Found,
) -> None:
    """Adds the edits of some rows to those found."""
    base = table.context_number(context)
    statements = _STATEMENTS.answers
    for site, stmt in _places(kernel):
        for number, scope, rows in groups[head_of(stmt)]:
            objects = None if scope is None or stmt is None else scope(kernel, site, stmt)
            if objects is None:
                legal = _legal(rows, kernel, site, stmt, context)
            else:
                key = (base + number, *map(id, objects))
                answer = statements.get(key)
                if answer is None:
                    legal = _legal(rows, kernel, site, stmt, context)
                    _STATEMENTS.keep(key, objects, legal)
                else:
                    legal = answer[1]
            if legal:
                made = _EDITS.answers.get((base, legal, site))
                for row, edits in _made(table, base, legal, site) if made is None else made[1]:
                    found[row] += edits


def _made(table: _Table, base: int, legal: _Legal, site: Site) -> _Edits:
    made = tuple(
        (row, tuple(Edit(table.names[row], site, argument) for argument in arguments))
        for row, arguments in legal
    )
    return _EDITS.keep((base, legal, site), None, made)


def _legal(
    rows: tuple[_Row, ...], kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> _Legal:
    """The rows with legal arguments at a statement, worked out."""
    found = []
    for row, spec in rows:
        arguments = tuple(
            argument
            for argument in spec.arguments(kernel, site, stmt, context)
            if spec.applies(kernel, site, argument, context)
        )
        if arguments:
            found.append((row, arguments))
    return tuple(found)
