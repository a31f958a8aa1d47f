"""Arithmetic edits that share an SFU instruction between two engines, each with its own tiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.schedule.core import tree
from m890sim.schedule.core.copying import Namer
from m890sim.schedule.core.effects import operand_roles, touches
from m890sim.schedule.core.pieces import count_mentions, instruction_at, piece_shape
from m890sim.schedule.core.room import require_place
from m890sim.schedule.core.tree import home_of
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse
from m890sim.schedule.edits.arithmetic.split_rows import cut_of, half, require_apart

_EIGHTHS = (4, 5, 6)  # of the rows for the SFU, the faster of the two engines


def _eighths(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    if isinstance(stmt, ir.Instr) and stmt.op == "exp2" and stmt.keyword("engine") is None:
        yield from _EIGHTHS


@edit(53, on="exp2", arguments=_eighths, exact=True)
def share_rows(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """The last rows of an exp2 go to the vector unit, into a tile of their own.

    exp2(p[:n], s[:n]); matmul(z[:n], p[:n], v)
    ->  exp2(p[: n // 2], s[: n // 2]); exp2(p_2[n // 2 : n], s[n // 2 : n], engine=vector)
        matmul(z[: n // 2], p[: n // 2], v); matmul(z[n // 2 : n], p_2[n // 2 : n], v)

    The argument is how many eighths of the rows stay on the SFU. The results (dst and row_sum) are
    used only further down in this block, by instructions that read the same piece row by row; these
    are split too. The conditions of split_rows hold for all of them. Exact, but for the order of
    sums in a matmul.
    """
    stmt = instruction_at(kernel, site, "exp2")
    if stmt.keyword("engine") is not None:
        raise refuse(stmt, "the exp2 is on the vector unit already")
    if not isinstance(argument, int) or not 1 <= argument <= 7:
        raise refuse(stmt, "the argument must be 1 to 7 eighths of the rows")
    results = [v for _, _, w, v in operand_roles(stmt) if w and isinstance(v, ir.TileRef)]
    rows = piece_shape(kernel, site, results[0])[0]
    if isinstance(rows, ir.Const) and rows.value < 2:
        raise refuse(stmt, "there are no two rows to split")
    cut = cut_of(rows, argument)
    body, index = tree.block(kernel, site)
    after = body[index + 1 :]
    homes = {ref.tile: home_of(kernel, site, ref.tile) for ref in results}
    for ref in results:
        scope, at = tree.block(kernel, homes[ref.tile])
        inside = sum(count_mentions(part, ref.tile) for part in (stmt, *after))
        if sum(count_mentions(part, ref.tile) for part in scope[at + 1 :]) != inside:
            raise refuse(stmt, f"`{ref.tile}` is used before this, or outside the block")
    namer = Namer(kernel)
    names = {ref.tile: namer.fresh(f"{ref.tile}_2") for ref in results}
    added: list[ir.Stmt] = list(_halves(kernel, site, stmt, rows, cut, names, results, True))
    last = max((n for n, p in enumerate(after) if any(touches(p, t) for t in names)), default=-1)
    require_place(kernel, stmt, last + 2)
    for part in after[: last + 1]:
        if not any(touches(part, tile) for tile in names):
            added.append(part)
        elif not isinstance(part, ir.Instr):
            raise refuse(part, "a result is used inside a block, not beside it")
        else:
            added += _halves(kernel, site, part, rows, cut, names, results, False)
    changed = tree.replace(kernel, site, *added, count=last + 2)
    for tile in sorted(homes, key=lambda t: homes[t], reverse=True):
        decl = tree.node(changed, homes[tile])
        assert isinstance(decl, ir.TileDecl)
        made = dataclasses.replace(decl, name=names[tile], at=None, comments=ir.NO_COMMENTS)
        changed = tree.insert(changed, homes[tile], made)
    return changed


def _halves(
    kernel: ir.Kernel,
    site: Site,
    stmt: ir.Instr,
    rows: ir.Expr,
    cut: ir.Expr,
    names: dict[str, str],
    results: list[ir.TileRef],
    original: bool,
) -> tuple[ir.Instr, ir.Instr]:
    """An instruction over the first rows, and one over the last, with the tiles of `names`."""
    spec = OPS[stmt.op]
    if any("M" in o.shape[1:] or o.role == "readwrite" for o in spec.operands) or (
        spec.operands[0].shape[0] != "M"
    ):
        raise refuse(stmt, f"{stmt.op} does not work row by row")
    require_apart(stmt)
    parts: list[dict[str, ir.Operand | ir.Keyword]] = [{}, {}]
    for name, _, written, value in operand_roles(stmt):
        if isinstance(value, ir.TensorRef):
            raise refuse(stmt, f"{stmt.op} moves a result between SRAM and HBM")
        shape = next(o.shape for o in spec.operands if o.name == name)
        for second in (False, True):
            new = value
            if isinstance(value, ir.TileRef):
                if value.tile in names and (value not in results or shape[0] != "M"):
                    raise refuse(stmt, f"{stmt.op} does not read `{value.tile}` in the same rows")
                if value.tile in names and written and not original:
                    raise refuse(stmt, f"`{value.tile}` is written again")
                if shape[0] == "M":
                    single = shape.endswith("b")
                    new = half(kernel, site, stmt, single, value, rows, cut, second)
                    if second and value.tile in names:
                        new = dataclasses.replace(new, tile=names[value.tile])
            parts[second][name] = new
    made = []
    for second in (False, True):
        keywords = [(k, parts[second].get(k, v)) for k, v in stmt.keywords]
        if second and original:
            keywords.append(("engine", "vector"))
        operands = [parts[second][o.name] for o in spec.operands if not o.keyword]
        comments = ir.NO_COMMENTS if second else stmt.comments
        made.append(
            dataclasses.replace(
                stmt,
                operands=tuple(operands),  # type: ignore[arg-type]
                keywords=tuple(keywords),  # type: ignore[arg-type]
                comments=comments,
            )
        )
    return made[0], made[1]
