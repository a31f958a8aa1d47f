"""Objects that stand for statements and kernels: what is the same but for some attributes has one.

The attributes are those that place work and memory and change no value: slots, banks, queues and
orders, where they are numbers. Few edits look at them, and half of all edits change them.
"""

from __future__ import annotations

from m890sim.kernel import ir

_MOST_TOKENS = 200_000
_MOST_STATEMENTS = 50_000


class Token:
    """Stands for a tuple of objects; there is one for each that was asked for."""

    __slots__ = ("objects",)

    def __init__(self, objects: tuple[object, ...]) -> None:
        self.objects = objects  # kept alive, so that their identities stay their own


_TOKENS: dict[tuple[int, ...], Token] = {}


def token(*objects: object) -> Token:
    """The token of objects, compared by identity."""
    key = tuple(map(id, objects))
    found = _TOKENS.get(key)
    if found is None:
        if len(_TOKENS) >= _MOST_TOKENS:
            _TOKENS.clear()
        found = _TOKENS[key] = Token(objects)
    return found


# id -> (the node, kept alive; its token; its token whatever the order of the blocks in it)
_STATEMENTS: dict[int, tuple[ir.Stmt, Token, Token]] = {}


def of_kernel(kernel: ir.Kernel) -> Token:
    """The token of a kernel's parameters and statements."""
    return token(kernel.params, *[_of(stmt)[1] for stmt in kernel.body])


def bag_of_kernel(kernel: ir.Kernel) -> Token:
    """As `of_kernel`, whatever the order of the statements in each block of a phase.

    Names are defined before they are used: what each statement says of its tiles and scalars by
    itself does not depend on the order.
    """
    return token(kernel.params, None, *[_of(stmt)[2] for stmt in kernel.body])


def bag_of_block(body: tuple[ir.Stmt, ...]) -> list[Token]:
    """As `bag_of_kernel`, of the statements of one block; its own fences do not count."""
    kept = [s for s in body if not isinstance(s, ir.Instr) or s.op != "fence"]
    return sorted([_of(stmt)[2] for stmt in kept], key=id)


def _of(stmt: ir.Stmt) -> tuple[ir.Stmt, Token, Token]:
    known = _STATEMENTS.get(id(stmt))
    if known is not None and known[0] is stmt:
        return known
    if isinstance(stmt, ir.Instr):
        found = _instruction(stmt)
        known = (stmt, found, found)
    elif isinstance(stmt, ir.TileDecl):
        slots, bank = (None if isinstance(e, ir.Const) else e for e in (stmt.slots, stmt.at))
        what = (stmt.name, stmt.space, stmt.rows, stmt.cols, stmt.dtype)
        found = token(ir.TileDecl, *what, slots, bank, stmt.comments)
        known = (stmt, found, found)
    elif isinstance(stmt, ir.Loop):
        known = _block(stmt, (stmt.var, stmt.start, stmt.stop, stmt.step), stmt.body)
    elif isinstance(stmt, ir.Stage):
        known = _block(stmt, (stmt.index,), stmt.body)
    elif isinstance(stmt, ir.If):
        known = _block(stmt, (stmt.condition,), stmt.then, stmt.orelse)
    elif isinstance(stmt, ir.Cores):
        known = _block(stmt, (stmt.vars, *stmt.extents), stmt.body)
    else:
        found = token(stmt)
        known = (stmt, found, found)
    if len(_STATEMENTS) >= _MOST_STATEMENTS:
        _STATEMENTS.clear()
    _STATEMENTS[id(stmt)] = known
    return known


def _instruction(stmt: ir.Instr) -> Token:
    words: list[object] = []
    for name, value in stmt.keywords:
        if name != "queue" or not isinstance(value, ir.Const):
            words += (name, value)
    return token(stmt.op, *stmt.operands, *words, stmt.comments)


def _block(
    stmt: ir.Stmt, header: tuple[object, ...], *bodies: tuple[ir.Stmt, ...]
) -> tuple[ir.Stmt, Token, Token]:
    parts: list[object] = [type(stmt), *header, stmt.comments]
    sorted_parts: list[object] = [None, *parts]
    for body in bodies:
        known = [_of(child) for child in body]
        parts += (None, *[entry[1] for entry in known])
        sorted_parts += (None, *sorted([entry[2] for entry in known], key=id))
    return stmt, token(*parts), token(*sorted_parts)
