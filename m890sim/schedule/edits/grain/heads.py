"""Packing the query heads of a group into the rows of a tile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import expressions, names_in, substitute_block
from m890sim.schedule.core.fingerprints import bag_of_kernel
from m890sim.schedule.core.integers.failures import range_at_launch
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.tree import Body, expect, replace, tensors
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse
from m890sim.schedule.edits.attributes.tunable import require_value
from m890sim.schedule.edits.grain.packed_rows import ONE, ROWS, Packer

GROW, KEEP = "grow", "keep"


@edit(
    54,
    on="Cores",
    only=(
        lambda kernel, site, stmt: _head(stmt) is not None,
        "no work-item variable is divided by a number of query heads",
    ),
    arguments=(GROW, KEEP),
    exact=False,
)
def pack_heads(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """The query heads of a group become the rows of one tile: row = token * G + head.

    before: G = HQ // HKV
            for h, i in cores(HQ, n):
                qt = sram(BQ, D, bf16)
                load(qt[:rows], q[a:b, h, :])
                load(kt, k[j : j + BK, h // G, :])
                matmul(s[:rows], qt[:rows], kt.T)
                causal_mask(s[:rows], row=a, col=j)
    after:  G = HQ // HKV
            for h, i in cores(HKV, n):
                qt = sram(BQ * G, D, bf16)
                load(qt[: rows * G], q[a:b, h * G : h * G + G, :])
                load(kt, k[j : j + BK, h, :])
                matmul(s[: rows * G], qt[: rows * G], kt.T)
                causal_mask(s[: rows * G], row=a, col=j, group=G)

    Argument: "grow", tiles grow by the factor G; or "keep", tiles keep their rows (rounded down to
    whole groups) and an item takes fewer tokens: BQ becomes max(1, BQ // G) in the whole kernel.
    Preconditions:
    - one of the phase's variables, h, has the extent HQ where G is HQ // HKV, or W * G; HQ or G is
      certainly not negative, and a launch has at least one head a group (with none, the packed
      phase still has items, which fail);
    - h is used as `h // G`, which picks an index of a dimension of HKV elements at least once, not
      in one branch alone of an `if` outside of which something is stored (so that every launch has
      whole groups; a loop counts, though it may have no iteration), and as a plain index of tensors
      that are loaded and stored, with tokens in front of it and one slice behind it, and for
      nothing else;
    - the tiles that hold what differs from head to head are used by rows: none is the stationary
      operand of a matmul, none is reduced over its rows or transposed or loaded for all heads at
      once, none has a slice of rows with a step, and no single row of one serves many rows;
    - nothing else is stored in the phase;
    - "keep": the rows of all these tiles are one Tunable, which is no loop's step and in no slots=,
      at= or queue=, and which set_tunable may change.
    """
    stmt = expect(kernel, site, ir.Cores)
    head = _head(stmt)
    assert head is not None

    def pack() -> tuple[set[ir.Expr], ir.Kernel]:
        packer = Packer(kernel, site, *head)
        number = stmt.vars.index(packer.head)
        whole = _groups(kernel, stmt, number, packer.group)
        _require_whole_groups(kernel, stmt, packer.head, packer.group, whole)
        extents = (*stmt.extents[:number], whole, *stmt.extents[number + 1 :])
        body = packer.block(stmt.body)
        packed = dataclasses.replace(stmt, extents=extents, body=body)
        heights = {tile.rows for tile in packer.held[ROWS].values()} - {ONE}
        return heights, replace(kernel, site, packed)

    # For both arguments. Which of several divided variables is meant goes by the text's order.
    heights = _LEGAL.checked((bag_of_kernel(kernel),), lambda: pack()[0], site, head)
    if argument == GROW:
        return lambda: pack()[1]
    rows = _tokens_tunable(kernel, stmt, heights, head[1])
    return lambda: _in_tokens(pack()[1], rows, head[1])


_LEGAL: Memo[set[ir.Expr]] = Memo()


def _head(stmt: ir.Cores) -> tuple[str, ir.Expr] | None:
    """The first variable that is divided in the phase, with what it is divided by."""
    for part in stmt.body:
        for name, divisor in _divided(part):
            if name in stmt.vars:
                return name, divisor
    return None


@by_node
def _divided(stmt: ir.Stmt) -> tuple[tuple[str, ir.Expr], ...]:
    """Names that a statement and those below it divide, each with its divisor."""
    own = tuple(
        (op.args[0].id, op.args[1])
        for expr in expressions(stmt)
        for op in ir.walk_expr(expr)
        if isinstance(op, ir.Op) and op.op == "//" and isinstance(op.args[0], ir.Name)
    )
    return own + tuple(found for child in ir.children(stmt) for found in _divided(child))


# ---- rows that become tokens ----


def _tokens_tunable(
    kernel: ir.Kernel, phase: ir.Cores, heights: set[ir.Expr], group: ir.Expr
) -> str:
    """The Tunable that is the rows of all packed tiles and may be known at launch only.

    heights: these rows. Raises: EditError where there is none.
    """
    if len(heights) != 1:
        raise refuse(phase, 'the packed tiles differ in rows; "grow" takes any')
    (height,) = heights
    if not isinstance(height, ir.Name) or height.id not in kernel.tunables:
        raise refuse(phase, 'the rows of the packed tiles are no Tunable; "grow" takes any')
    name = height.id
    first = kernel.body[: _behind(kernel, group)]
    if any(name in names_in(s.value) for s in first if isinstance(s, ir.Let)):
        raise refuse(phase, f"a scalar in front of the number of heads of a group uses {name}")
    for loop in ir.walk(kernel.body):
        # Nor in slots=, at= or queue=: there it would be no size of a block.
        if isinstance(loop, ir.Loop) and name in names_in(loop.step):
            raise refuse(loop, f"{name} is a loop's step, which must be a constant")
    require_value(kernel, name, 1)  # no multiple of the present size
    return name


def _in_tokens(packed: ir.Kernel, name: str, group: ir.Expr) -> ir.Kernel:
    """A packed kernel with its Tunable of rows BQ replaced by max(1, BQ // G) everywhere."""
    tokens = Namer(packed).fresh("TOKENS")
    let = ir.Let(tokens, ir.Op("max", (ONE, ir.Op("//", (ir.Name(name), group)))))
    place = _behind(packed, group)
    body = packed.body[:place] + substitute_block(packed.body[place:], {name: ir.Name(tokens)})
    return dataclasses.replace(packed, body=(*body[:place], let, *body[place:]))


def _behind(kernel: ir.Kernel, group: ir.Expr) -> int:
    """The first place of the kernel's body where a group's size is known."""
    used = set(names_in(group))
    places = [n for n, s in enumerate(kernel.body) if isinstance(s, ir.Let) and s.name in used]
    return max(places, default=-1) + 1


# ---- groups ----


def _groups(kernel: ir.Kernel, stmt: ir.Cores, number: int, group: ir.Expr) -> ir.Expr:
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


def _require_whole_groups(
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
