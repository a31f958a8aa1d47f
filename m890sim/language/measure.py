"""Limits on a kernel's size, and the normal form that every kernel with a text has."""

from __future__ import annotations

import keyword
import math
import re

from m890sim.errors import LimitError
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.printer import print_expr, text_of
from m890sim.kernel.shapes import is_default, keyword_defaults
from m890sim.kernel.structure import check_structure
from m890sim.kernel.transform import expressions
from m890sim.language.foreign import DTYPE_NAMES
from m890sim.language.limits import DIMENSION, Limits
from m890sim.language.report import HOLE, Report
from m890sim.language.reserved import MAX_STAGE
from m890sim.language.source import is_plain
from m890sim.messages import described, shown

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ARITIES = dict.fromkeys((*ir.INT_OPERATORS, *ir.COMPARISONS, "and", "or", "/"), 2) | {"not": 1}
_EXPRESSIONS = (ir.Const, ir.Name, ir.Op, ir.TableRef)
_STATEMENTS = (ir.Let, ir.TileDecl, ir.HbmDecl, ir.Instr, ir.Loop, ir.Stage, ir.If, ir.Cores)


def measure(kernel: ir.Kernel, limits: Limits) -> None:
    """Holds parts to their types, counts nodes and depths.

    Raises: TypeError for a part of another type, LimitError; naming the statement.
    """
    count, characters = check_structure(kernel, limits.nodes, limits.nesting, limits.literal)
    # No node and no comment prints as more characters than this, but for the names and texts in it.
    if 160 * count + characters > limits.source_bytes:
        refuse_long_text(kernel, limits)


def refuse_long_text(kernel: ir.Kernel, limits: Limits) -> None:
    """Refuses a kernel whose text could not be read back."""
    size = len(text_of(kernel).encode("utf-8", "surrogatepass"))
    if size > limits.source_bytes:
        found = f"the kernel has {size} bytes as text, the limit is {limits.source_bytes}"
        raise LimitError("E501", f"{found}; make it shorter", f"{kernel.filename}:1:1")


class NormalForm:
    """Reports what no text reads as: `parse(print_kernel(k)) == k` holds for all that passes."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def bad(self, found: str, loc: ir.SourceLoc) -> None:
        self.report.add("E228", f"{found}; no text gives this, build the kernel otherwise", loc)

    def kernel(self, kernel: ir.Kernel) -> None:
        top = ir.SourceLoc(1, 1)
        self.name(kernel.name, top)
        if not isinstance(kernel.doc, str) or not _encodable(kernel.doc):
            self.bad("the docstring is no text", top)
        if not kernel.filename.isprintable() or len(kernel.filename) > 1000:
            self.bad("the file's name is not printable or longer than 1000 characters", top)
        self.comment_lines((*kernel.header, *kernel.footer), top)
        tunable = False
        for param in kernel.params:
            self.param(param)
            if tunable and param.kind != "tunable":
                found = f"the parameter `{shown(param.name)}` stands after a Tunable"
                self.report.add("E107", f"{found}; Tunables have defaults and come last", param.loc)
            tunable = tunable or param.kind == "tunable"
        for stmt in ir.walk(kernel.body):
            self.statement(stmt)

    def name(self, name: str, loc: ir.SourceLoc) -> None:
        if name == HOLE or name in self.report.unknown:
            return
        if not isinstance(name, str) or not _NAME.fullmatch(name) or keyword.iskeyword(name):
            self.bad(f"`{shown(str(name))}` is no name", loc)

    def comment_lines(self, lines: tuple[str, ...], loc: ir.SourceLoc) -> None:
        for line in lines:
            if not line.startswith("#") or line != line.rstrip() or not all(map(is_plain, line)):
                found = (
                    f"the comment {shown(line)!r} is not one line from # on without blanks behind"
                )
                self.bad(found, loc)

    def param(self, param: ir.Param) -> None:
        self.name(param.name, param.loc)
        shaped = param.kind in ("tensor", "table")
        if param.kind not in ("tensor", "table", "scalar", "size", "tunable"):
            self.bad(f"`{shown(str(param.kind))}` is no kind of parameter", param.loc)
        if (
            (not shaped and param.dims)
            or (shaped and not param.dims)
            or (param.kind == "table" and len(param.dims) > 1)
        ):
            self.bad(f"`{shown(param.name)}` has {len(param.dims)} dimensions", param.loc)
        wanted = param.dtype in ir.DTYPES if param.kind == "tensor" else param.dtype == ""
        if not wanted:
            self.bad(f"`{shown(param.name)}` has the dtype {param.dtype!r}", param.loc)
        if type(param.default) is not int or (param.kind != "tunable" and param.default):
            self.bad(f"`{shown(param.name)}` has the default {param.default!r}", param.loc)
        for dim in param.dims:
            self.dim(dim, param)

    def dim(self, dim: ir.Expr, param: ir.Param) -> None:
        right = isinstance(dim, ir.Name)
        if isinstance(dim, ir.Const):
            right = type(dim.value) is int and dim.value >= 0
        elif isinstance(dim, ir.Op) and dim.op in ("+", "-") and len(dim.args) == 2:
            name, number = dim.args
            right = isinstance(name, ir.Name) and isinstance(number, ir.Const)
            right = (
                right
                and isinstance(number, ir.Const)
                and type(number.value) is int
                and number.value >= 0
            )
        if right and len(print_expr(dim)) > DIMENSION:
            found = f"a dimension of `{shown(param.name)}` is longer than {DIMENSION} characters"
            self.report.add("E107", f"{found}; use a shorter name", param.loc)
        if not right:
            found = (
                f"a dimension of `{shown(param.name)}` is neither NAME, "
                "NAME + 1, NAME - 1 nor an integer >= 0"
            )
            self.report.add(
                "E107", f"{found}; write one of these", self.report.where(dim, param.loc)
            )
        for node in ir.walk_expr(dim):
            if isinstance(node, ir.Name):
                self.name(node.id, param.loc)

    def statement(self, stmt: ir.Stmt) -> None:
        if not isinstance(stmt, _STATEMENTS):
            raise TypeError(f"a statement must be one of ir.Stmt, not {type(stmt).__name__}")
        self.comment_lines(stmt.comments.above, stmt.loc)
        if stmt.comments.beside:
            self.comment_lines((stmt.comments.beside,), stmt.loc)
        if isinstance(stmt, ir.Let | ir.TileDecl | ir.HbmDecl):
            self.name(stmt.name, stmt.loc)
        if isinstance(stmt, ir.TileDecl | ir.HbmDecl) and stmt.dtype not in (*ir.DTYPES, HOLE):
            hint = self.report.suggest(str(stmt.dtype), ir.DTYPES)
            found = f"`{shown(str(stmt.dtype))}` is no dtype"
            advice = f"use one of {', '.join(ir.DTYPES)}{hint}"
            if str(stmt.dtype) in DTYPE_NAMES:
                advice = f"write {DTYPE_NAMES[str(stmt.dtype)]}"
            self.report.add("E230", f"{found}; {advice}", stmt.loc)
        if isinstance(stmt, ir.TileDecl) and (
            stmt.space not in ("sram", "acc") or (stmt.space == "acc" and stmt.at is not None)
        ):
            self.bad(f"`{shown(stmt.name)}` lies in {stmt.space!r}", stmt.loc)
        if isinstance(stmt, ir.Stage) and (
            type(stmt.index) is not int or not 0 <= stmt.index <= MAX_STAGE
        ):
            self.bad(
                f"the stage's number is {stmt.index!r}, not an integer from 0 to {MAX_STAGE}",
                stmt.loc,
            )
        if isinstance(stmt, ir.Loop):
            self.name(stmt.var, stmt.loc)
        if isinstance(stmt, ir.Cores):
            for name in stmt.vars:
                self.name(name, stmt.loc)
            if len(stmt.vars) != len(stmt.extents) or not stmt.vars or stmt.order not in ir.ORDERS:
                self.bad(f"cores has {len(stmt.vars)} variables and order {stmt.order!r}", stmt.loc)
        if isinstance(stmt, ir.Instr):
            self.keywords(stmt)
        for expr in expressions(stmt):
            self.expression(expr, stmt.loc)

    def keywords(self, stmt: ir.Instr) -> None:
        if stmt.op not in OPS:
            return
        defaults = keyword_defaults(stmt.op)
        order = list(defaults)
        names = [name for name, _ in stmt.keywords if name in defaults]
        if sorted(set(names), key=order.index) != names:
            self.bad(f"the keywords of {stmt.op} are repeated or out of order", stmt.loc)
        for name, value in stmt.keywords:
            if is_default(value, defaults.get(name)):
                self.bad(
                    f"the keyword `{shown(name)}` of {stmt.op} is "
                    "written although it has its default",
                    stmt.loc,
                )

    def expression(self, expr: ir.Expr, loc: ir.SourceLoc) -> None:
        for node in ir.walk_expr(expr):
            if not isinstance(node, _EXPRESSIONS):
                raise TypeError(f"an expression must be one of ir.Expr, not {type(node).__name__}")
            if isinstance(node, ir.Const):
                value = node.value
                if (
                    isinstance(value, bool)
                    or not isinstance(value, int | float)
                    or not math.isfinite(value)
                ):
                    self.bad(
                        f"the literal {described(value)} is no finite number",
                        self.report.where(node, loc),
                    )
            elif isinstance(node, ir.Name):
                self.name(node.id, loc)
            elif isinstance(node, ir.TableRef):
                self.name(node.table, loc)
            elif len(node.args) != _ARITIES.get(node.op, -1):
                self.bad(f"the operator {node.op!r} has {len(node.args)} operands", loc)


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)
