"""The types of a kernel's parts, and bounds on their number and depth: what any use relies on.

A kernel that code has built may hold anything; a parser's or an edit's does not. The walk needs no
recursion and reads nothing of a part before its exact type is known, so that it ends for shared,
deep and cyclic parts, and so that no subclass says one thing here and another one elsewhere.
"""

from __future__ import annotations

from typing import Any, get_args

from m890sim.errors import LimitError
from m890sim.kernel import ir
from m890sim.messages import described, shown

# What may be printed at all; the language's own limits (`language.Limits`) are narrower.
MOST_LINES = 2**31
PRINTED_NODES = 200_000
PRINTED_NESTING = 100
PRINTED_LITERAL = 2**64

_EXPR = frozenset(get_args(ir.Expr))
_STMT = frozenset(get_args(ir.Stmt))
_OPERAND = frozenset(get_args(ir.Operand))
_KEYWORD = frozenset(get_args(ir.Keyword))
_PART = _EXPR | {type(None)}
_TEXT = frozenset((str,))
_INTEGER = frozenset((int,))
_ONE, _MANY, _PAIRS = range(3)

# Class -> its fields: (name, one part or a tuple of them, types of a part).
_FIELDS: dict[type, tuple[tuple[str, int, frozenset[type]], ...]] = {
    ir.Kernel: (
        ("name", _ONE, _TEXT),
        ("params", _MANY, frozenset((ir.Param,))),
        ("body", _MANY, _STMT),
        ("doc", _ONE, _TEXT),
        ("header", _MANY, _TEXT),
        ("footer", _MANY, _TEXT),
        ("filename", _ONE, _TEXT),
    ),
    ir.Param: (
        ("name", _ONE, _TEXT),
        ("kind", _ONE, _TEXT),
        ("dims", _MANY, _EXPR),
        ("dtype", _ONE, _TEXT),
        ("default", _ONE, _INTEGER),
    ),
    ir.Const: (("value", _ONE, frozenset((int, float))),),
    ir.Name: (("id", _ONE, _TEXT),),
    ir.Op: (("op", _ONE, _TEXT), ("args", _MANY, _EXPR)),
    ir.TableRef: (("table", _ONE, _TEXT), ("index", _ONE, _EXPR)),
    ir.Slice: (("start", _ONE, _PART), ("stop", _ONE, _PART), ("step", _ONE, _PART)),
    ir.Gather: (("table", _ONE, _TEXT), ("start", _ONE, _EXPR), ("stop", _ONE, _EXPR)),
    ir.TensorRef: (("tensor", _ONE, _TEXT), ("index", _MANY, _EXPR | {ir.Slice, ir.Gather})),
    ir.TileRef: (
        ("tile", _ONE, _TEXT),
        ("rows", _ONE, frozenset((ir.Slice,))),
        ("cols", _ONE, frozenset((ir.Slice,))),
        ("transposed", _ONE, frozenset((bool,))),
    ),
    ir.Comments: (("above", _MANY, _TEXT), ("beside", _ONE, _TEXT)),
    ir.Let: (("name", _ONE, _TEXT), ("value", _ONE, _EXPR)),
    ir.TileDecl: (
        ("name", _ONE, _TEXT),
        ("space", _ONE, _TEXT),
        ("rows", _ONE, _EXPR),
        ("cols", _ONE, _EXPR),
        ("dtype", _ONE, _TEXT),
        ("slots", _ONE, _EXPR),
        ("at", _ONE, _PART),
    ),
    ir.HbmDecl: (("name", _ONE, _TEXT), ("dims", _MANY, _EXPR), ("dtype", _ONE, _TEXT)),
    ir.Instr: (
        ("op", _ONE, _TEXT),
        ("operands", _MANY, _OPERAND),
        ("keywords", _PAIRS, _KEYWORD),
    ),
    ir.Loop: (
        ("var", _ONE, _TEXT),
        ("start", _ONE, _EXPR),
        ("stop", _ONE, _EXPR),
        ("step", _ONE, _EXPR),
        ("body", _MANY, _STMT),
    ),
    ir.Stage: (("index", _ONE, _INTEGER), ("body", _MANY, _STMT)),
    ir.If: (("condition", _ONE, _EXPR), ("then", _MANY, _STMT), ("orelse", _MANY, _STMT)),
    ir.Cores: (
        ("vars", _MANY, _TEXT),
        ("extents", _MANY, _EXPR),
        ("order", _ONE, _TEXT),
        ("body", _MANY, _STMT),
    ),
}
_PLACED = _STMT | {ir.Param, ir.TensorRef, ir.TileRef}
_BLOCKS = frozenset((ir.Loop, ir.Stage, ir.If, ir.Cores))
_NESTED = frozenset((ir.Op, ir.TableRef))
_NODES = frozenset(_FIELDS)


def check_structure(
    kernel: ir.Kernel,
    nodes: int = PRINTED_NODES,
    nesting: int = PRINTED_NESTING,
    literal: int = PRINTED_LITERAL,
) -> tuple[int, int]:
    """Hold every part to its exact type; (nodes, characters that their texts print as, at most).

    Raises: TypeError naming class and field, LimitError E502, E503 or E504 beyond a limit; with the
    place of the statement.
    """
    if type(kernel) is not ir.Kernel:
        raise TypeError(f"kernel must be a Kernel, not {described(kernel)}")
    filename = kernel.filename
    if type(filename) is not str:
        raise _refusal("<kernel>", ir.NOWHERE, kernel, "filename", filename)
    count = characters = 0
    # (node, blocks around it, operators around it, place of its statement)
    stack: list[tuple[Any, int, int, ir.SourceLoc]] = [(kernel, 0, 0, ir.NOWHERE)]
    while stack:
        node, blocks, operators, loc = stack.pop()
        kind = type(node)
        count += 1
        if kind in _PLACED:
            loc = _place(node, filename, loc)
        if count > nodes:
            found = f"the kernel has more than {nodes} IR nodes, the limit; make it shorter"
            raise LimitError("E503", found, _where(filename, loc))
        if node is ir.FULL:
            continue
        if kind in _BLOCKS:
            blocks += 1
        elif kind in _NESTED:
            operators += 1
        if blocks > nesting or operators > nesting:
            what = "blocks" if blocks > operators else "operators"
            found = f"{what} are nested deeper than {nesting}, the limit"
            raise LimitError("E502", f"{found}; use several statements", _where(filename, loc))
        children: list[Any] = []
        for name, form, kinds in _FIELDS[kind]:
            value = getattr(node, name)
            parts: Any
            if form == _ONE:
                parts = (value,)
            elif type(value) is not tuple:
                raise _refusal(filename, loc, node, name, value)
            else:
                parts = value if form == _MANY else _values(value, filename, loc, node, name)
            for part in parts:
                found_kind = type(part)
                if found_kind not in kinds:
                    raise _refusal(filename, loc, node, name, part)
                if found_kind in _NODES:
                    children.append((part, blocks, operators, loc))
                elif found_kind is str:
                    characters += 10 * len(part)  # 10: an escape in a docstring
                elif found_kind is int and abs(part) > literal:
                    found = f"the integer {shown(hex(part), 24)} is larger than {literal}"
                    found = f"{found}, the limit; use a smaller number"
                    raise LimitError("E504", found, _where(filename, loc))
        children.reverse()
        stack += children
        if kind in _STMT and node.comments is not ir.NO_COMMENTS:
            characters += _comments(node, filename, loc)
    return count, characters


def _values(
    pairs: tuple[Any, ...], filename: str, loc: ir.SourceLoc, node: Any, name: str
) -> list[Any]:
    """The values of an instruction's keywords."""
    for pair in pairs:
        if type(pair) is not tuple or len(pair) != 2 or type(pair[0]) is not str:
            raise _refusal(filename, loc, node, name, pair)
    return [value for _, value in pairs]


def _comments(stmt: Any, filename: str, loc: ir.SourceLoc) -> int:
    """The characters that a statement's comments print as, at most."""
    comments = stmt.comments
    if type(comments) is not ir.Comments:
        raise _refusal(filename, loc, stmt, "comments", comments)
    if type(comments.above) is not tuple:
        raise _refusal(filename, loc, comments, "above", comments.above)
    for line in comments.above:
        if type(line) is not str:
            raise _refusal(filename, loc, comments, "above", line)
    if type(comments.beside) is not str:
        raise _refusal(filename, loc, comments, "beside", comments.beside)
    return sum(160 + 4 * len(line) for line in (*comments.above, comments.beside) if line)


def _place(node: Any, filename: str, around: ir.SourceLoc) -> ir.SourceLoc:
    loc: ir.SourceLoc = node.loc
    if type(loc) is not ir.SourceLoc:
        raise _refusal(filename, around, node, "loc", loc)
    for name in ("line", "column"):
        if type(getattr(loc, name)) is not int or not 0 <= getattr(loc, name) < MOST_LINES:
            raise _refusal(filename, around, loc, name, getattr(loc, name))
    return loc


def _where(filename: str, loc: ir.SourceLoc) -> str:
    return f"{shown(filename, 300)}:{max(loc.line, 1)}:{max(loc.column, 1)}"


def _refusal(filename: str, loc: ir.SourceLoc, node: Any, name: str, value: Any) -> TypeError:
    kind = type(node)
    wanted = _WANTED.get((kind, name)) or _WANTED.get(name) or _wanted(*_FORMS[kind, name])
    found = f"{kind.__name__}.{name} must be {wanted}, not {described(value)}"
    return TypeError(f"{_where(filename, loc)}: {found}; build the kernel otherwise")


_FORMS = {
    (kind, name): (form, kinds)
    for kind, entries in _FIELDS.items()
    for name, form, kinds in entries
}
_WANTED: dict[Any, str] = {
    "loc": "SourceLoc",
    "comments": "Comments",
    "line": f"an integer of 0 ... {MOST_LINES - 1}",
    "column": f"an integer of 0 ... {MOST_LINES - 1}",
    (ir.Instr, "keywords"): "a tuple of pairs (name, value)",
}


def _wanted(form: int, kinds: frozenset[type]) -> str:
    names = sorted("None" if kind is type(None) else kind.__name__ for kind in kinds)
    listed = "statements" if kinds >= _STMT else " or ".join(names)
    return f"a tuple of {listed}" if form else listed
