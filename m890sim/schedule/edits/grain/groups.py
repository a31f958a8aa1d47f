"""Heads in groups: how many groups a phase runs through, and whether all of them are whole."""

from __future__ import annotations

from collections.abc import Callable

from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.integers.failures import range_at_launch
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import refuse


def groups(kernel: ir.Kernel, stmt: ir.Cores, number: int, group: ir.Expr) -> ir.Expr:
    """The number of groups that a phase's variable runs through."""
    extent, head = stmt.extents[number], stmt.vars[number]
    if set(names_in(group)) & set(stmt.vars) or not _outside(kernel, group):
        raise refuse(stmt, f"what `{head}` is divided by is not known outside the phase")
    value = _value(kernel, group)
    whole = _value(kernel, extent)
    known = kernel.tunables
    if isinstance(value, ir.Op) and value.op == "//" and shapes.same_value(value.args[0], whole):
        return _certain(kernel, stmt, extent, value.args[1])
    size = shapes.simplify(value, known)
    count = shapes.simplify(whole, known)
    if isinstance(size, ir.Const) and isinstance(count, ir.Const):
        if size.value >= 1 and count.value % size.value == 0:
            return ir.Const(int(count.value) // int(size.value))
    elif isinstance(whole, ir.Op) and whole.op == "*":
        for one, other in (whole.args, whole.args[::-1]):
            if shapes.same_value(one, value) or one == group:
                return _certain(kernel, stmt, group, other)
    raise refuse(
        stmt,
        f"`{head}` is divided by no `HQ // HKV` with HQ its extent, and its extent is no "
        "multiple of the divisor",
    )


def _certain(kernel: ir.Kernel, stmt: ir.Cores, heads: ir.Expr, count: ir.Expr) -> ir.Expr:
    """The number of groups where no number of heads is below zero."""
    least = range_at_launch(kernel, heads).low
    if least is None or least < 0:
        raise refuse(stmt, "the number of heads may be below zero")
    return count


def _value(kernel: ir.Kernel, expr: ir.Expr) -> ir.Expr:
    """An expression with a scalar of the kernel's top put in, one level."""
    if isinstance(expr, ir.Name):
        for stmt in kernel.body:
            if isinstance(stmt, ir.Let) and stmt.name == expr.id:
                return stmt.value
    return expr


def _outside(kernel: ir.Kernel, expr: ir.Expr) -> bool:
    unknown = set(names_in(expr)) - {s.name for s in kernel.body if isinstance(s, ir.Let)}
    return not unknown or unknown <= {*kernel.symbols, *kernel.tunables}


def require_whole_groups(
    kernel: ir.Kernel, stmt: ir.Cores, head: str, group: ir.Expr, whole: ir.Expr
) -> None:
    """Refuses a phase that would not trap where the last group has fewer heads than the others."""
    dims = {p.name: p.dims for p in kernel.params}
    dims |= {s.name: s.dims for s in kernel.body if isinstance(s, ir.HbmDecl)}
    pick = ir.Op("//", (ir.Name(head), group))
    values: dict[str, set[ir.Expr]] = {}
    for part in ir.walk(stmt.body):
        if isinstance(part, ir.Let):
            values.setdefault(part.name, set()).add(part.value)
    lets = {name for name, found in values.items() if found == {pick}}

    def picks(part: ir.Instr) -> bool:
        for value in part.operands:
            if isinstance(value, ir.TensorRef):
                for entry, dim in zip(value.index, dims[value.tensor], strict=True):
                    chosen = entry == pick or (isinstance(entry, ir.Name) and entry.id in lets)
                    if chosen and shapes.same_value(dim, whole):
                        return True
        return False

    if not any(picks(part) for part in ir.walk(stmt.body) if isinstance(part, ir.Instr)):
        raise refuse(stmt, f"no tensor of one index a group is indexed by `{head}` // the group")
    if _picks_and_stores(stmt.body, picks)[1]:
        found = f"a tensor is indexed by `{head}` // the group in a branch only"
        raise refuse(stmt, f"{found}, and something is stored outside of it")


def _picks_and_stores(body: Body, picks: Callable[[ir.Instr], bool]) -> tuple[bool, bool]:
    """Whether a block certainly picks a group, and whether it may store where it picks none."""
    picked = stored = False
    for stmt in body:
        if isinstance(stmt, ir.Instr):
            found = picks(stmt), stmt.op == "store"
        elif isinstance(stmt, ir.If):
            then, orelse = (_picks_and_stores(part, picks) for part in (stmt.then, stmt.orelse))
            found = then[0] and orelse[0], then[1] or orelse[1]
        else:
            found = _picks_and_stores(ir.children(stmt), picks)
        picked, stored = picked or found[0], stored or found[1]
    return picked, stored and not picked
