"""What the language may find wrong with a statement whose scalars an edit gives other values."""

from __future__ import annotations

from m890sim.isa import OPS, Operand
from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, Form, Forms
from m890sim.kernel.transform import expressions
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.memo import Remembered

_DOUBTFUL: Remembered[tuple[ir.Op | ir.TableRef, ...]] = Remembered(20_000)


def doubtful(stmt: ir.Stmt) -> tuple[ir.Op | ir.TableRef, ...]:
    """Divisions by anything but a number, and elements of tables, in a statement's own text."""
    if isinstance(stmt, ir.Stage | ir.TileDecl):
        return ()
    return _DOUBTFUL.get((stmt,), lambda: _doubtful(stmt))


def _doubtful(stmt: ir.Stmt) -> tuple[ir.Op | ir.TableRef, ...]:
    found: list[ir.Op | ir.TableRef] = []
    for expr in expressions(stmt):
        for part in ir.walk_expr(expr):
            if isinstance(part, ir.TableRef):
                found.append(part)
            elif isinstance(part, ir.Op):
                divides = part.op in ("//", "%", "ceil_div")
                if divides and not isinstance(part.args[1], ir.Const):
                    found.append(part)
    return tuple(found)


def operands_of(stmt: ir.Instr) -> list[tuple[Operand, ir.TileRef | ir.TensorRef]]:
    """The tiles and tensors that a call gives, each with its row in `isa.OPS`."""
    rows = {operand.name: operand for operand in OPS[stmt.op].operands}
    return [
        (rows[name], value)
        for name, _, _, value in operand_roles(stmt)
        if isinstance(value, ir.TileRef | ir.TensorRef)
    ]


_ONE = ir.Const(1)
_Length = ir.Expr | ir.Slice | ir.Gather  # what is written, where it is not an extent


def as_before(pieces: list[tuple[Operand, ir.TileRef | ir.TensorRef]]) -> bool:
    """Whether extents that must be equal are so by their text, as they mostly are.

    Or whole: then they do not depend on scalars of a phase, and were compared before.
    """
    bound: dict[str, _Length] = {"1": _ONE}
    for operand, ref in pieces:
        entries = (ref.rows, ref.cols) if isinstance(ref, ir.TileRef) else ref.index
        sliced = [entry for entry in entries if isinstance(entry, ir.Slice | ir.Gather)]
        if len(sliced) > 2:
            return False
        lengths: list[_Length | None] = [_ONE] * (2 - len(sliced))
        lengths += map(_length, sliced)
        if isinstance(ref, ir.TileRef) and ref.transposed:
            lengths.reverse()
        for letter, length in zip(operand.shape[:2], lengths, strict=True):
            whole = letter == "1" and length == ir.FULL
            if length is None or (not whole and length != bound.setdefault(letter, length)):
                return False
    return True


def _length(entry: ir.Slice | ir.Gather) -> _Length | None:
    start, stop = entry.start, entry.stop
    if entry == ir.FULL:
        return entry
    if stop is None or (isinstance(entry, ir.Slice) and entry.step is not None):
        return None
    if start is None or start == ir.Const(0):
        return stop
    if isinstance(stop, ir.Op) and stop.op == "+" and stop.args[0] == start:
        return stop.args[1]
    return entry


def unequal(forms: Forms, shapes: list[tuple[Operand, tuple[Form, Form]]]) -> bool:
    """Whether extents that an instruction needs equal certainly differ, as the language finds."""
    bound: dict[str, Form] = {}
    for operand, shape in sorted(shapes, key=lambda entry: entry[0].shape.endswith("b")):
        broadcast = operand.shape.endswith("b")
        for letter, extent in zip(operand.shape[:2], shape, strict=True):
            if letter == "1":
                wrong = forms.differ(extent, ONE)
            elif broadcast and not forms.differ(extent, ONE):
                continue
            else:
                wrong = forms.differ(extent, bound.setdefault(letter, extent))
            if wrong:
                return True
    return False
