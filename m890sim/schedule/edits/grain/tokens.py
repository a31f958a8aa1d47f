"""A tunable number of rows that becomes a number of tokens."""

from __future__ import annotations

import dataclasses

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in, substitute_block
from m890sim.schedule.core.names import Namer
from m890sim.schedule.edit import refuse
from m890sim.schedule.edits.attributes.tunable import require_value
from m890sim.schedule.edits.grain.packed_rows import ONE


def tokens_of_a_block(packed: ir.Kernel, name: str, group: ir.Expr) -> ir.Kernel:
    """A packed kernel with its Tunable of rows BQ replaced by max(1, BQ // G) everywhere."""
    tokens = Namer(packed).fresh("TOKENS")
    let = ir.Let(tokens, ir.Op("max", (ONE, ir.Op("//", (ir.Name(name), group)))))
    place = _behind(packed, group)
    body = packed.body[:place] + substitute_block(packed.body[place:], {name: ir.Name(tokens)})
    return dataclasses.replace(packed, body=(*body[:place], let, *body[place:]))


def require_tokens(
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


def _behind(kernel: ir.Kernel, group: ir.Expr) -> int:
    """The first place of the kernel's body where a group's size is known."""
    used = set(names_in(group))
    last = -1
    for index, stmt in enumerate(kernel.body):
        if isinstance(stmt, ir.Let) and stmt.name in used:
            last = index
    return last + 1
