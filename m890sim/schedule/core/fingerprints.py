"""Fingerprints: kernels that differ only in slots, banks, queues or orders of work share one.

The attributes are those that place work and memory and change no value: slots, banks, queues and
orders, where they are numbers. Few edits look at them, and half of all edits change them.
"""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.transform import header
from m890sim.schedule.core.effects import defined_by
from m890sim.schedule.core.memo import Memo, by_node


class Token:
    """Stands for a tuple of objects; there is one for each that was asked for."""

    __slots__ = ("objects",)

    def __init__(self, objects: tuple[object, ...]) -> None:
        self.objects = objects  # kept alive, so that their identities stay their own


_TOKENS: Memo[Token] = Memo()


def token(*objects: object) -> Token:
    """The token of objects, compared by identity."""
    key = tuple(map(id, objects))
    found = _TOKENS.answers.get(key)
    return _TOKENS.keep(key, objects, Token(objects)) if found is None else found[1]


def of_statement(stmt: ir.Stmt) -> Token:
    """The token of a statement."""
    return _of(stmt)[0]


def of_kernel(kernel: ir.Kernel) -> Token:
    """The token of a kernel's parameters and statements."""
    return token(kernel.params, *[_of(stmt)[0] for stmt in kernel.body])


def bag_of_kernel(kernel: ir.Kernel) -> Token:
    """As `of_kernel`, whatever the order of the statements in each block of a phase.

    Names are defined before they are used: what each statement says of its tiles and scalars by
    itself does not depend on the order.
    """
    return token(kernel.params, None, *[_of(stmt)[1] for stmt in kernel.body])


def bag_of_block(body: tuple[ir.Stmt, ...]) -> list[Token]:
    """As `bag_of_kernel`, of the statements of one block; its own fences do not count."""
    kept = [s for s in body if not isinstance(s, ir.Instr) or s.op != "fence"]
    return sorted([_of(stmt)[1] for stmt in kept], key=id)


@by_node
def _of(stmt: ir.Stmt) -> tuple[Token, Token]:
    """The token of a statement, and that whatever the order of the blocks in it."""
    parts: list[object] = [type(stmt), *_own(stmt), stmt.comments]
    blocks = ir.blocks(stmt)
    if not blocks:
        found = token(*parts)
        return found, found
    sorted_parts: list[object] = [None, *parts]
    for body in blocks:
        known = [_of(child) for child in body]
        parts += (None, *[entry[0] for entry in known])
        sorted_parts += (None, *sorted([entry[1] for entry in known], key=id))
    return token(*parts), token(*sorted_parts)


def _own(stmt: ir.Stmt) -> tuple[object, ...]:
    """What a statement says without the blocks in it, its comments, and numbers that place it."""
    if isinstance(stmt, ir.Instr):
        words: list[object] = []
        for name, value in stmt.keywords:
            if name != "queue" or not isinstance(value, ir.Const):
                words += (name, value)
        return (stmt.op, *stmt.operands, *words)
    if isinstance(stmt, ir.TileDecl):
        places = (None if isinstance(e, ir.Const) else e for e in (stmt.slots, stmt.at))
        return (stmt.name, stmt.space, stmt.rows, stmt.cols, stmt.dtype, *places)
    if isinstance(stmt, ir.HbmDecl):
        return (stmt,)
    index = (stmt.index,) if isinstance(stmt, ir.Stage) else ()
    return (*defined_by(stmt), *header(stmt), *index)
