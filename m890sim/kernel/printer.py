"""The printer: a kernel as text, in one form; `parse(print_kernel(k)) == k` for checked kernels.

Lines longer than `WIDTH` are split at the commas of their outermost call, where they have one.
"""

from __future__ import annotations

import hashlib
import re

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.structure import check_structure

WIDTH = 100
INDENT = "    "
IMPORT = "from m890sim.lang import *"

# Python's own binding strengths, so that the text needs no more brackets than Python does.
_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY, _ATOM = range(8)
_STRENGTH = (
    {"or": _OR, "and": _AND, "not": _NOT}
    | dict.fromkeys(ir.COMPARISONS, _COMPARE)
    | {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "//": _PRODUCT, "%": _PRODUCT}
)


def print_kernel(kernel: ir.Kernel) -> str:
    """The kernel as a kernel file, comments and docstring included.

    Raises: TypeError for what is no Kernel or was built of parts that no kernel has, LimitError for
    far too many. Whether it keeps the language's rules is not asked.
    """
    check_structure(kernel)
    return text_of(kernel)


def digest(kernel: ir.Kernel) -> str:
    """SHA-256, in hex, of the printed kernel without its comments and docstring."""
    return hashlib.sha256(text_of(kernel, comments=False).encode("utf-8")).hexdigest()


def print_expr(expr: ir.Expr, *, real: bool = False) -> str:
    """An expression as text; `real` writes literals as floats (value operands)."""
    return _expr(expr, real)[0]


def print_operand(operand: ir.Operand) -> str:
    """An instruction's operand as text: `kt[:cols].T`, `q[i, :]` or a float value."""
    if isinstance(operand, ir.TileRef):
        parts = [_slice(operand.rows), _slice(operand.cols)]
        while parts and parts[-1] == ":":
            parts.pop()
        index = f"[{', '.join(parts)}]" if parts else ""
        return operand.tile + index + (".T" if operand.transposed else "")
    if isinstance(operand, ir.TensorRef):
        return f"{operand.tensor}[{', '.join(_index(entry) for entry in operand.index)}]"
    return print_expr(operand, real=True)


def print_head(stmt: ir.Stmt) -> str:
    """The head of a statement as one line, without comments; for messages and listings."""
    prefix, arguments, suffix = _head(stmt)
    return prefix + ", ".join(arguments) + suffix


# Statements that edits make share expressions with those before: (id, real) -> (the operator, kept
# alive; its text and binding strength).
_TEXTS: dict[tuple[int, bool], tuple[ir.Op, tuple[str, int]]] = {}
_MOST_TEXTS = 10_000


def _expr(expr: ir.Expr, real: bool) -> tuple[str, int]:
    """Text and binding strength."""
    if isinstance(expr, ir.Name):
        return expr.id, _ATOM
    if isinstance(expr, ir.Const):
        text = repr(float(expr.value)) if real else repr(expr.value)
        return text, _UNARY if text.startswith("-") else _ATOM
    if isinstance(expr, ir.TableRef):
        return f"{expr.table}[{_expr(expr.index, False)[0]}]", _ATOM
    known = _TEXTS.get((id(expr), real))
    if known is None or known[0] is not expr:
        if expr.op in _STRENGTH:
            found = _operator(expr, real)
        else:
            found = f"{expr.op}({', '.join([_expr(a, real)[0] for a in _flat(expr)])})", _ATOM
        if len(_TEXTS) >= _MOST_TEXTS:
            _TEXTS.clear()
        known = _TEXTS[id(expr), real] = (expr, found)
    return known[1]


def _flat(expr: ir.Op) -> tuple[ir.Expr, ...]:
    """The arguments of a call; min and max of more than two nest to the left."""
    if not expr.args:
        raise TypeError(f"an operator {expr.op!r:.60} of no operands cannot be printed")
    last = expr.args[1:]
    first = expr.args[0]
    while expr.op in ("min", "max") and isinstance(first, ir.Op) and first.op == expr.op:
        last = first.args[1:] + last
        first = first.args[0]
    return (first, *last)


def _operator(expr: ir.Op, real: bool) -> tuple[str, int]:
    strength, operands = _STRENGTH.get(expr.op), 1 if expr.op == "not" else 2
    if strength is None or len(expr.args) != operands:
        raise TypeError(
            f"an operator {expr.op!r:.60} of {len(expr.args)} operands cannot be printed"
        )
    if expr.op == "not":
        return f"not {_bracketed(expr.args[0], _NOT, real)}", _NOT
    left, right = expr.args
    # `-5` would read back as a negative literal, so `0 - 5` keeps its zero.
    if expr.op == "-" and left == ir.Const(0) and not isinstance(right, ir.Const):
        return f"-{_bracketed(right, _UNARY, real)}", _UNARY
    least = strength + 1 if strength == _COMPARE else strength
    text = f"{_bracketed(left, least, real)} {expr.op} {_bracketed(right, strength + 1, real)}"
    return text, strength


def _bracketed(expr: ir.Expr, least: int, real: bool) -> str:
    text, strength = _expr(expr, real)
    return text if strength >= least else f"({text})"


def _slice(entry: ir.Slice) -> str:
    parts = [entry.start, entry.stop] + ([entry.step] if entry.step is not None else [])
    texts = ["" if part is None else print_expr(part) for part in parts]
    simple = all(part is None or isinstance(part, ir.Const | ir.Name) for part in parts)
    if simple:
        return ":".join(texts)
    # As Python's formatters do: where a part is an expression, the colons get spaces.
    text = texts[0]
    for part in texts[1:]:
        text += (" :" if text and not text.endswith(":") else ":") + (f" {part}" if part else "")
    return text


def _index(entry: ir.Slice | ir.Gather | ir.Expr) -> str:
    if isinstance(entry, ir.Slice):
        return _slice(entry)
    if isinstance(entry, ir.Gather):
        return f"{entry.table}[{_slice(ir.Slice(entry.start, entry.stop))}]"
    return print_expr(entry)


def _keyword(name: str, value: ir.Keyword, real: bool) -> str:
    if isinstance(value, str | bool):
        return f"{name}={value}"
    if isinstance(value, ir.TileRef):
        return f"{name}={print_operand(value)}"
    return f"{name}={print_expr(value, real=real)}"


def _head(stmt: ir.Stmt, word: str = "if") -> tuple[str, list[str], str]:
    """A statement's first line as (text up to the arguments, arguments, text after them)."""
    if isinstance(stmt, ir.Let):
        return _let(stmt)
    if isinstance(stmt, ir.TileDecl):
        parts = [print_expr(stmt.rows), print_expr(stmt.cols)]
        if stmt.space == "sram" or stmt.dtype != "f32":
            parts.append(stmt.dtype)
        if stmt.slots != ir.Const(1):
            parts.append(f"slots={print_expr(stmt.slots)}")
        if stmt.at is not None:
            parts.append(f"at={print_expr(stmt.at)}")
        return f"{stmt.name} = {stmt.space}(", parts, ")"
    if isinstance(stmt, ir.HbmDecl):
        return f"{stmt.name} = hbm(", [*map(print_expr, stmt.dims), stmt.dtype], ")"
    if isinstance(stmt, ir.Instr):
        parts = [print_operand(operand) for operand in stmt.operands]
        parts += [_keyword(name, value, _is_value(stmt.op, name)) for name, value in stmt.keywords]
        return f"{stmt.op}(", parts, ")"
    if isinstance(stmt, ir.Loop):
        bounds = [stmt.start, stmt.stop, stmt.step]
        if stmt.step == ir.Const(1):
            bounds = bounds[:2] if stmt.start != ir.Const(0) else bounds[1:2]
        return f"for {stmt.var} in range(", [print_expr(bound) for bound in bounds], "):"
    if isinstance(stmt, ir.Stage):
        return f"with stage({stmt.index}):", [], ""
    if isinstance(stmt, ir.If):
        return f"{word} {print_expr(stmt.condition)}:", [], ""
    parts = [print_expr(extent) for extent in stmt.extents]
    if stmt.order != "block":
        parts.append(f'order="{stmt.order}"')
    return f"for {', '.join(stmt.vars)} in cores(", parts, "):"


def _let(stmt: ir.Let) -> tuple[str, list[str], str]:
    value = stmt.value
    if isinstance(value, ir.Op) and value.op not in _STRENGTH:
        return f"{stmt.name} = {value.op}(", [print_expr(arg) for arg in _flat(value)], ")"
    return f"{stmt.name} = {print_expr(value)}", [], ""


def _is_value(op: str, keyword: str) -> bool:
    """Whether the keyword is an operand (a float) and no setting (an integer)."""
    row = OPS.get(op)
    return row is not None and any(o.keyword and o.name == keyword for o in row.operands)


def _split(head: tuple[str, list[str], str], depth: int) -> list[str]:
    """One line; or, where that is too long, the arguments on a line of their own; or one a line."""
    prefix, arguments, suffix = head
    indent = INDENT * depth
    line = indent + prefix + ", ".join(arguments) + suffix
    if len(line) <= WIDTH or not arguments:
        return [line]
    inner = indent + INDENT + ", ".join(arguments)
    if len(inner) <= WIDTH:
        return [indent + prefix, inner, indent + suffix]
    return [indent + prefix, *(f"{indent}{INDENT}{part}," for part in arguments), indent + suffix]


# Statements are printed again and again in edited copies of a kernel, which share them:
# (id, depth, with comments, word) -> (the statement, kept alive; its lines).
_LINES: dict[tuple[int, int, bool, str], tuple[ir.Stmt, list[str]]] = {}
_MOST_LINES = 10_000


class _Writer:
    """Collects the lines of one kernel."""

    def __init__(self, comments: bool) -> None:
        self.comments = comments
        self.lines: list[str] = []

    def block(self, body: tuple[ir.Stmt, ...], depth: int) -> None:
        for number, stmt in enumerate(body):
            if number and isinstance(stmt, ir.Cores):
                self.lines.append("")
            self.statement(stmt, depth)
        if not body:
            self.lines.append(INDENT * depth + "pass")

    def statement(self, stmt: ir.Stmt, depth: int, word: str = "if") -> None:
        key = (id(stmt), depth, self.comments, word)
        known = _LINES.get(key)
        if known is None or known[0] is not stmt:
            first = len(self.lines)
            self._statement(stmt, depth, word)
            if len(_LINES) >= _MOST_LINES:
                _LINES.clear()
            _LINES[key] = (stmt, self.lines[first:])
        else:
            self.lines += known[1]

    def _statement(self, stmt: ir.Stmt, depth: int, word: str) -> None:
        lines = _split(_head(stmt, word), depth)
        if self.comments:
            self.lines += [INDENT * depth + text for text in stmt.comments.above]
            if stmt.comments.beside:
                lines[-1] += f"  {stmt.comments.beside}"
        self.lines += lines
        if isinstance(stmt, ir.If):
            self.branches(stmt, depth)
        elif isinstance(stmt, ir.Loop | ir.Stage | ir.Cores):
            self.block(stmt.body, depth + 1)

    def branches(self, stmt: ir.If, depth: int) -> None:
        self.block(stmt.then, depth + 1)
        if len(stmt.orelse) == 1 and isinstance(stmt.orelse[0], ir.If):
            self.statement(stmt.orelse[0], depth, "elif")
        elif stmt.orelse:
            self.lines.append(INDENT * depth + "else:")
            self.block(stmt.orelse, depth + 1)


def _param(param: ir.Param) -> str:
    if param.kind == "tunable":
        return f"{param.name}: Tunable = {param.default}"
    if param.kind in ("scalar", "size"):
        return f"{param.name}: {param.kind.capitalize()}"
    parts = [
        print_expr(dim) if isinstance(dim, ir.Const) else f'"{print_expr(dim)}"'
        for dim in param.dims
    ]
    if param.dtype not in ("", "bf16"):
        parts.append(param.dtype)
    return f"{param.name}: {param.kind.capitalize()}[{', '.join(parts)}]"


def _docstring(doc: str) -> str:
    # No quote before another one or at the end, so that only the closing three end the string.
    text = re.sub(r'"(?="|\Z)', r'\\"', doc.replace("\\", "\\\\"))
    escaped = (
        c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
    return f'"""{"".join(escaped)}"""'


def text_of(kernel: ir.Kernel, comments: bool = True) -> str:
    """The text of a kernel whose structure was checked."""
    writer = _Writer(comments)
    lines = writer.lines
    if comments and kernel.header:
        lines += [*kernel.header, ""]
    lines += [IMPORT, "", "", "@kernel"]
    lines += _split((f"def {kernel.name}(", [_param(p) for p in kernel.params], "):"), 0)
    if comments and kernel.doc:
        lines.append(INDENT + _docstring(kernel.doc))
    writer.block(kernel.body, 1)
    if comments:
        lines += [INDENT + text for text in kernel.footer]
    return "\n".join(lines) + "\n"
