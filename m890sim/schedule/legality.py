"""The legal edits of a kernel, found from what is known of the kernels that it shares nodes with.

An edit leaves most nodes of a kernel as they are. What an edit's legality depends on is named by
its row (`EditSpec.scope`); while these objects are the same, so is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from m890sim.kernel import ir
from m890sim.schedule.core import tree
from m890sim.schedule.core.fingerprints import Token, of_kernel
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

_MOST_ANSWERS = 40_000  # for one context, about 1 kB each
_MOST_EDITS = 100_000
_MOST_KERNELS = 2_000  # for one context, about 4 kB each
_MOST_CONTEXTS = 16
_HEADS = (*INSTRUCTIONS, "Kernel", "Let", "TileDecl", "HbmDecl", "Loop", "Stage", "If", "Cores")

_Row = tuple[int, EditSpec]
_Group = tuple[int, Scope | None, tuple[_Row, ...]]
_Legal = tuple[tuple[int, tuple[Argument, ...]], ...]  # numbers of rows, their legal arguments
_Answer = tuple[tuple[object, ...], _Legal]  # the scope's objects, kept alive for their identity


class _Answers:
    """What is known for one context."""

    def __init__(self) -> None:
        self.statements: dict[tuple[int, ...], _Answer] = {}
        # By the kernel's token: all edits of the rows that are not placing.
        self.kernels: dict[Token, tuple[tuple[int, tuple[Edit, ...]], ...]] = {}


class _Table:
    """Rows by the head that they act on, those of one scope together; in the order of EDITS."""

    def __init__(self, edits: Mapping[str, EditSpec]) -> None:
        self.edits = edits
        self.names = tuple(edits)
        self.answers: dict[Context, _Answers] = {}
        self.made: dict[tuple[int, Site, tuple[Argument, ...]], tuple[Edit, ...]] = {}
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

    def known(self, context: Context) -> _Answers:
        """The answers for a context."""
        found = self.answers.get(context)
        if found is None:
            if len(self.answers) >= _MOST_CONTEXTS:
                self.answers = {}
            found = self.answers.setdefault(context, _Answers())
        if len(found.statements) >= _MOST_ANSWERS:
            found.statements = {}
        if len(found.kernels) >= _MOST_KERNELS:
            found.kernels = {}
        return found

    def edits_of(self, row: int, site: Site, arguments: tuple[Argument, ...]) -> tuple[Edit, ...]:
        """The edits of a row at a site."""
        key = (row, site, arguments)
        found = self.made.get(key)
        if found is None:
            if len(self.made) >= _MOST_EDITS:
                self.made = {}
            name = self.names[row]
            found = self.made[key] = tuple(Edit(name, site, argument) for argument in arguments)
        return found


_latest: _Table | None = None


def forget() -> None:
    """Drop all that is known of kernels seen so far."""
    global _latest
    _latest = None


def legal_edits(edits: Mapping[str, EditSpec], kernel: ir.Kernel, context: Context) -> list[Edit]:
    """The candidates of a table that apply, in the order of the table, then of the text."""
    global _latest
    table = _latest
    if table is None or table.edits is not edits:
        table = _latest = _Table(edits)
    known = table.known(context)
    found: list[list[Edit]] = [[] for _ in table.names]
    _find(table, table.placing, known, kernel, context, found)
    token = of_kernel(kernel)
    shared = known.kernels.get(token)
    if shared is None:
        _find(table, table.others, known, kernel, context, found)
        known.kernels[token] = tuple(
            (row, tuple(found[row]))
            for row, spec in enumerate(edits.values())
            if found[row] and not spec.placing
        )
    else:
        for row, part in shared:
            found[row] += part
    return [edit for part in found for edit in part]


def legal_edits_of(
    edits: Mapping[str, EditSpec], name: str, kernel: ir.Kernel, context: Context
) -> list[Edit]:
    """Those of `legal_edits` that have this name, without asking about the others."""
    spec = edits[name]
    places: list[tuple[Site, ir.Stmt | None]] = [((), None), *tree.index(kernel).nodes.items()]
    return [
        Edit(name, site, argument)
        for site, stmt in places
        if spec.heads is None or head_of(stmt) in spec.heads
        for _, arguments in _legal(((0, spec),), kernel, site, stmt, context)
        for argument in arguments
    ]


def _find(
    table: _Table,
    groups: Mapping[str, list[_Group]],
    known: _Answers,
    kernel: ir.Kernel,
    context: Context,
    found: list[list[Edit]],
) -> None:
    """Adds the edits of some rows to those found."""
    edits_of, statements = table.edits_of, known.statements
    for row, arguments in _fresh(groups["Kernel"], kernel, (), None, context):
        found[row] += edits_of(row, (), arguments)
    for site, stmt in tree.index(kernel).nodes.items():
        for number, scope, rows in groups[head_of(stmt)]:
            objects = None if scope is None else scope(kernel, site, stmt)
            if objects is None:
                legal = _legal(rows, kernel, site, stmt, context)
            else:
                key = (number, *map(id, objects))
                answer = statements.get(key)
                if answer is None:
                    legal = _legal(rows, kernel, site, stmt, context)
                    statements[key] = (objects, legal)
                else:
                    legal = answer[1]
            for row, arguments in legal:
                found[row] += edits_of(row, site, arguments)


def _fresh(
    groups: list[_Group],
    kernel: ir.Kernel,
    site: Site,
    stmt: ir.Stmt | None,
    context: Context,
) -> _Legal:
    return tuple(
        legal for _, _, rows in groups for legal in _legal(rows, kernel, site, stmt, context)
    )


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
