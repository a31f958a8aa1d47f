"""Heads in groups: how many groups a phase runs through, and whether all of them are whole."""

from __future__ import annotations

from collections.abc import Callable

from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.integers.failures import range_at_launch
from m890sim.schedule.core.tree import Body, tensors
from m890sim.schedule.edit import refuse


def groups(kernel: ir.Kernel, stmt: ir.Cores, number: int, group: ir.Expr) -> ir.Expr:
    """The number of groups that a phase's variable runs through."""
    extent, head = stmt.extents[number], stmt.vars[number]
    names = set(names_in(group))
    lets = {part.name: part.value for part in kernel.body if isinstance(part, ir.Let)}
    known = {*lets, *kernel.symbols, *kernel.tunables}
    if names & set(stmt.vars) or not names <= known:
        raise refuse(stmt, f"what `{head}` is divided by is not known outside the phase")

    def value(expr: ir.Expr) -> ir.Expr:
        return lets.get(expr.id, expr) if isinstance(expr, ir.Name) else expr

    def certain(heads: ir.Expr, count: ir.Expr) -> ir.Expr:
        """The number of groups where no number of heads is below zero."""
        least = range_at_launch(kernel, heads).low
        if least is None or least < 0:
            raise refuse(stmt, "the number of heads may be below zero")
        return count

    size, whole = value(group), value(extent)
    if isinstance(size, ir.Op) and size.op == "//" and shapes.same_value(size.args[0], whole):
        return certain(extent, size.args[1])
    numbers = [shapes.simplify(expr, kernel.tunables) for expr in (size, whole)]
    if all(isinstance(number, ir.Const) for number in numbers):
        divisor, count = (int(n.value) for n in numbers if isinstance(n, ir.Const))
        if divisor >= 1 and count % divisor == 0:
            return ir.Const(count // divisor)
    elif isinstance(whole, ir.Op) and whole.op == "*":
        for one, other in (whole.args, whole.args[::-1]):
            if shapes.same_value(one, size) or one == group:
                return certain(group, other)
    found = f"`{head}` is divided by no `HQ // HKV` with HQ its extent"
    raise refuse(stmt, f"{found}, and its extent is no multiple of the divisor")


def require_whole_groups(
    kernel: ir.Kernel, stmt: ir.Cores, head: str, group: ir.Expr, whole: ir.Expr
) -> None:
    """Refuses a phase that would not trap where the last group has fewer heads than the others."""
    dims = {name: tensor.dims for name, tensor in tensors(kernel).items()}
    pick = ir.Op("//", (ir.Name(head), group))
    lets = [part for part in ir.walk(stmt.body) if isinstance(part, ir.Let)]
    others = {let.name for let in lets if let.value != pick}
    chosen = {pick, *(ir.Name(let.name) for let in lets if let.name not in others)}

    def picks(part: ir.Instr) -> bool:
        return any(
            entry in chosen and shapes.same_value(dim, whole)
            for ref in part.operands
            if isinstance(ref, ir.TensorRef)
            for entry, dim in zip(ref.index, dims[ref.tensor], strict=True)
        )

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
