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
    if names & set(stmt.vars) or not names <= {*lets, *kernel.symbols, *kernel.tunables}:
        raise refuse(stmt, f"what `{head}` is divided by is not known outside the phase")
    size, whole = (lets.get(e.id, e) if isinstance(e, ir.Name) else e for e in (group, extent))
    numbers = [shapes.simplify(expr, kernel.tunables) for expr in (size, whole)]
    values = [int(number.value) for number in numbers if isinstance(number, ir.Const)]
    heads, count = extent, None
    if isinstance(size, ir.Op) and size.op == "//" and shapes.same_value(size.args[0], whole):
        count = size.args[1]
    elif len(values) == 2:
        if values[0] >= 1 and values[1] % values[0] == 0:
            return ir.Const(values[1] // values[0])
    elif isinstance(whole, ir.Op) and whole.op == "*":
        for one, other in (whole.args[::-1], whole.args):
            if shapes.same_value(one, size) or one == group:
                heads, count = group, other
    if count is None:
        found = f"`{head}` is divided by no `HQ // HKV` with HQ its extent"
        raise refuse(stmt, f"{found}, and its extent is no multiple of the divisor")
    least = range_at_launch(kernel, heads).low
    if least is None or least < 0:
        raise refuse(stmt, "the number of heads may be below zero")
    return count


def require_whole_groups(
    kernel: ir.Kernel, stmt: ir.Cores, head: str, group: ir.Expr, whole: ir.Expr
) -> None:
    """Refuses a phase that would not trap where the last group has fewer heads than the others."""
    dims = {name: tensor.dims for name, tensor in tensors(kernel).items()}
    pick = ir.Op("//", (ir.Name(head), group))
    lets = [part for part in ir.walk(stmt.body) if isinstance(part, ir.Let)]
    others = {let.name for let in lets if let.value != pick}
    chosen = {pick, *(ir.Name(let.name) for let in lets if let.name not in others)}

    def picks(part: ir.Stmt) -> bool:
        return isinstance(part, ir.Instr) and any(
            entry in chosen and shapes.same_value(dim, whole)
            for ref in part.operands
            if isinstance(ref, ir.TensorRef)
            for entry, dim in zip(ref.index, dims[ref.tensor], strict=True)
        )

    if not any(picks(part) for part in ir.walk(stmt.body)):
        raise refuse(stmt, f"no tensor of one index a group is indexed by `{head}` // the group")
    if _picks_and_stores(stmt.body, picks)[1]:
        found = f"a tensor is indexed by `{head}` // the group in a branch only"
        raise refuse(stmt, f"{found}, and something is stored outside of it")


def _picks_and_stores(body: Body, picks: Callable[[ir.Stmt], bool]) -> tuple[bool, bool]:
    """Whether a block certainly picks a group, and whether it may store where it picks none."""
    picked = stored = False
    for stmt in body:
        inner = [_picks_and_stores(part, picks) for part in ir.blocks(stmt)]
        stores = isinstance(stmt, ir.Instr) and stmt.op == "store"
        picked = picked or picks(stmt) or (bool(inner) and all(found for found, _ in inner))
        stored = stored or stores or any(found for _, found in inner)
    return picked, stored and not picked
