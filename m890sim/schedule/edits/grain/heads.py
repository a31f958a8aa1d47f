"""Packing the query heads of a group into the rows of a tile."""

from __future__ import annotations

import dataclasses

from m890sim.kernel import ir
from m890sim.kernel.transform import expressions, names_in, substitute_block
from m890sim.schedule.core.fingerprints import bag_of_kernel
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.tree import expect, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse
from m890sim.schedule.edits.attributes.tunable import require_value
from m890sim.schedule.edits.grain.groups import groups, require_whole_groups
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
        whole = groups(kernel, stmt, number, packer.group)
        require_whole_groups(kernel, stmt, packer.head, packer.group, whole)
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
