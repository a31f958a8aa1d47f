"""Helpers over the IR that several parts share: values, extents, instructions in normal form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.forms import Form, Forms

NO_TABLES: Mapping[str, Sequence[int]] = {}


def evaluate(
    expr: ir.Expr, values: Mapping[str, int], tables: Mapping[str, Sequence[int]] = NO_TABLES
) -> int:
    """The integer value of an expression. `//` and `%` floor; comparisons and logic give 0 or 1.

    Raises: KeyError for a name without a value, IndexError beyond a table, ZeroDivisionError.
    """
    if isinstance(expr, ir.Const):
        return int(expr.value)
    if isinstance(expr, ir.Name):
        return int(values[expr.id])
    if isinstance(expr, ir.TableRef):
        index = evaluate(expr.index, values, tables)
        if index < 0:
            raise IndexError(f"index {index} of table {expr.table} is negative")
        return int(tables[expr.table][index])
    if expr.op == "not":
        return int(not evaluate(expr.args[0], values, tables))
    left = evaluate(expr.args[0], values, tables)
    if expr.op in ("and", "or"):
        if bool(left) == (expr.op == "or"):
            return int(bool(left))
        return int(bool(evaluate(expr.args[1], values, tables)))
    return operate(expr.op, left, evaluate(expr.args[1], values, tables))


def operate(op: str, left: int, right: int) -> int:
    """One integer operator or comparison of two values. Raises: ZeroDivisionError."""
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if op == "//":
        return left // right
    if op == "%":
        return left % right
    if op == "ceil_div":
        return -(-left // right)
    if op in ("min", "max"):
        return min(left, right) if op == "min" else max(left, right)
    return int(
        {
            "<": left < right,
            "<=": left <= right,
            ">": left > right,
            ">=": left >= right,
            "==": left == right,
            "!=": left != right,
        }[op]
    )


def form_of(forms: Forms, expr: ir.Expr, values: Mapping[str, Form | int] | None = None) -> Form:
    """The normal form of an integer expression; names without a value stand for themselves."""
    if isinstance(expr, ir.Const):
        return Form(int(expr.value))
    if isinstance(expr, ir.Name):
        value = None if values is None else values.get(expr.id)
        if isinstance(value, int):
            return Form(value)
        return forms.name(expr.id) if value is None else value
    if isinstance(expr, ir.TableRef):
        return forms.table(expr.table, form_of(forms, expr.index, values))
    return forms.apply(expr.op, tuple([form_of(forms, arg, values) for arg in expr.args]))


def simplify(expr: ir.Expr, values: Mapping[str, Form | int] | None = None) -> ir.Expr:
    """An expression of the same value in normal form, e.g. `i * BQ + rows - i * BQ` -> `rows`.

    `values` (tunables, say) are put in. The expression comes back as it is where its normal form is
    very large.
    """
    return _simplified(expr) if not values else _simplify(expr, values)


# Edits ask the same again and again, about expressions that kernels share.
_REMEMBERED = 20_000


@lru_cache(_REMEMBERED)
def _simplified(expr: ir.Expr) -> ir.Expr:
    return _simplify(expr, None)


def _simplify(expr: ir.Expr, values: Mapping[str, Form | int] | None) -> ir.Expr:
    forms = Forms()
    result = forms.expression(form_of(forms, expr, values))
    return expr if result is None or forms.overflow else result


def same_value(
    left: ir.Expr, right: ir.Expr, values: Mapping[str, Form | int] | None = None
) -> bool:
    """Whether two expressions are certain to be equal, whatever their names stand for."""
    if left is right and isinstance(left, ir.Name):
        return True
    return _same(left, right) if not values else _same_form(left, right, values)


@lru_cache(_REMEMBERED)
def _same(left: ir.Expr, right: ir.Expr) -> bool:
    return _same_form(left, right, None)


def _same_form(left: ir.Expr, right: ir.Expr, values: Mapping[str, Form | int] | None) -> bool:
    forms = Forms()
    return form_of(forms, left, values) == form_of(forms, right, values) and not forms.overflow


@lru_cache(_REMEMBERED)
def slice_extent(piece: ir.Slice | ir.Gather, dim: ir.Expr) -> ir.Expr:
    """Number of indices that a slice or gather takes of a dimension, simplified."""
    forms = Forms()
    result = forms.expression(extent_form(forms, piece, form_of(forms, dim)))
    if result is not None:
        return result
    start = piece.start if piece.start is not None else ir.Const(0)
    stop = piece.stop if piece.stop is not None else dim
    length = ir.Op("-", (stop, start))
    step = piece.step if isinstance(piece, ir.Slice) else None
    return length if step is None else ir.Op("ceil_div", (length, step))


def extent_form(
    forms: Forms,
    piece: ir.Slice | ir.Gather,
    dim: Form,
    values: Mapping[str, Form | int] | None = None,
) -> Form:
    """The form of `slice_extent`."""
    stop = dim if piece.stop is None else form_of(forms, piece.stop, values)
    length = (
        stop if piece.start is None else forms.subtract(stop, form_of(forms, piece.start, values))
    )
    if isinstance(piece, ir.Gather) or piece.step is None:
        return length
    return forms.divide("ceil_div", length, form_of(forms, piece.step, values))


def piece_shape(ref: ir.TileRef | ir.TensorRef, dims: Sequence[ir.Expr]) -> tuple[ir.Expr, ir.Expr]:
    """Rows and columns of an operand whose tile or tensor has dimensions `dims`; `.T` swaps them.

    A tensor's piece: no sliced dimension, 1 x 1; one, 1 x n; more, rows = all but the last merged.
    """
    if isinstance(ref, ir.TileRef):
        shape = (slice_extent(ref.rows, dims[0]), slice_extent(ref.cols, dims[1]))
        return (shape[1], shape[0]) if ref.transposed else shape
    extents = [
        slice_extent(entry, dim)
        for entry, dim in zip(ref.index, dims, strict=True)
        if isinstance(entry, ir.Slice | ir.Gather)
    ]
    columns: ir.Expr = extents.pop() if extents else ir.Const(1)
    rows: ir.Expr = extents[0] if extents else ir.Const(1)
    for extent in extents[1:]:
        rows = ir.Op("*", (rows, extent))
    return simplify(rows), columns


def instruction(
    op: str,
    operands: Sequence[ir.Operand],
    keywords: Mapping[str, ir.Keyword] | None = None,
    comments: ir.Comments = ir.NO_COMMENTS,
    loc: ir.SourceLoc = ir.NOWHERE,
) -> ir.Instr:
    """An instruction in normal form: keywords in the order of its row, defaults left out.

    Raises: KeyError for an unknown instruction, ValueError for a keyword that it does not have.
    """
    row, given = OPS[op], dict(keywords or {})
    pairs: list[tuple[str, ir.Keyword]] = []
    for name, default in keyword_defaults(op).items():
        if name in given:
            value = given.pop(name)
            if not is_default(value, default):
                pairs.append((name, value))
    if given:
        raise ValueError(f"keywords of {row.signature} must not be {sorted(given)}")
    return ir.Instr(op, tuple(operands), tuple(pairs), comments, loc)


def keyword_defaults(op: str) -> dict[str, int | bool | str | None]:
    """Keywords of an instruction in the order in which they are kept -> default (None: none)."""
    row = OPS[op]
    defaults: dict[str, int | bool | str | None] = {o.name: None for o in row.operands if o.keyword}
    defaults |= {s.name: s.default for s in row.settings}
    return defaults | {"engine": row.engines[0]}


def is_default(value: ir.Keyword, default: int | bool | str | None) -> bool:
    """Whether a keyword's value is the default that stands for a keyword left out."""
    if isinstance(value, ir.Const):
        return isinstance(default, int) and not isinstance(default, bool) and value.value == default
    if isinstance(value, bool | str):
        return type(value) is type(default) and value == default
    return False
