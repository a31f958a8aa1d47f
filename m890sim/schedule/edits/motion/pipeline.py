"""The edit that puts the statements of a loop into stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.language import DEFAULT_LIMITS
from m890sim.schedule.core.effects import commute, effects_of, known_effects
from m890sim.schedule.core.scopes import of_loop
from m890sim.schedule.core.tree import Body, contents, find_home, home_of, node, replace, sites
from m890sim.schedule.edit import (
    DEFAULT_CONTEXT,
    Argument,
    Context,
    EditError,
    Planned,
    Site,
    edit,
    refuse,
)
from m890sim.schedule.edits.motion.sink import require_inside, sink
from m890sim.schedule.edits.motion.stages import BESIDE, carried, unstaged, with_slots


def _counts(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[int]:
    if isinstance(stmt, ir.Loop):
        ops = effects_of(stmt).ops - {"fence"}
        if ops:
            yield 1
        if "load" in ops and len(ops) > 1:
            yield 2
            if "matmul" in ops:
                yield 3


@edit(18, on="Loop", arguments=_counts, scope=of_loop, exact=True)
def pipeline(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Puts the statements of a loop into 1, 2 or 3 stages; slots of tiles grow to what they need.

    a = sram(8, 8, bf16)           ->  for j in range(n):
    for j in range(n):                     a = sram(8, 8, bf16, slots=2)
        load(a, x[j, :, :])                with stage(0):
        add(s, s, a)                           load(a, x[j, :, :])
                                           with stage(1):
                                               add(s, s, a)

    One stage holds everything. Of two, the first holds the loads that can move to the front (an
    `if` or a loop of loads too); of three, the second holds the matmuls that can then move to the
    front of the rest. Each stage holds something; stages that the loop has are made anew. A tile
    from outside that the loop writes and would use in two stages goes into the loop, where `sink`
    can take it there; no other tile or tensor from outside may be used so. Assignments and tiles
    stand above the stages.
    """
    loop = node(kernel, site)
    if not isinstance(loop, ir.Loop):
        raise refuse(loop, "only a loop over a range can be pipelined")
    if not isinstance(argument, int) or not 1 <= argument <= 3:
        raise refuse(loop, f"the number of stages must be 1, 2 or 3, not {argument!r}")
    body = unstaged(loop)
    beside = tuple(child for child in body if isinstance(child, BESIDE))
    parts = _parts(loop, body, argument)
    if [child.body for child in loop.body if isinstance(child, ir.Stage)] == parts:
        raise refuse(loop, "this loop has just these stages already")
    if len(site) + 1 + _height(body) > DEFAULT_LIMITS.nesting:
        raise refuse(loop, f"blocks would stand more than {DEFAULT_LIMITS.nesting} deep")
    stages = {number: known_effects(*part) for number, part in enumerate(parts)}
    homes: dict[str, Site] = {}  # of tiles that must go into the loop
    for name, text in carried(stages, contents(beside).tiles.keys()).items():
        home = find_home(kernel, site, name)
        if home is None:
            raise refuse(loop, f"{text}; keep it in one stage")
        try:
            require_inside(kernel, home, site)
        except EditError as error:
            raise refuse(loop, f"{text}, and cannot go into the loop: {error}") from error
        homes[name] = home

    def build() -> ir.Kernel:
        made = [ir.Stage(number, part) for number, part in enumerate(parts)]
        # A new object: where it stands is found again when tiles above it have moved.
        staged = dataclasses.replace(loop, body=(*beside, *made))
        changed, at = replace(kernel, site, staged), site
        # The last declaration first, as each becomes the first statement of the loop.
        for name in sorted(homes, key=lambda name: homes[name], reverse=True):
            changed, at = _taken_in(changed, at, name)
        found = node(changed, at)
        assert isinstance(found, ir.Loop)
        return replace(changed, at, with_slots(changed, found))

    return build


def _taken_in(kernel: ir.Kernel, site: Site, name: str) -> tuple[ir.Kernel, Site]:
    """The kernel with a tile declared in a loop, block by block, and where the loop is then."""
    loop = node(kernel, site)
    while True:
        home = home_of(kernel, site, name)
        kernel = sink(kernel, home, None, DEFAULT_CONTEXT)
        if len(home) == len(site):
            return kernel, (*site[:-1], site[-1] - 1)
        site = next(found for found, stmt in sites(kernel) if stmt is loop)


def _parts(loop: ir.Loop, body: Body, count: int) -> list[Body]:
    """What each stage would hold."""
    inner: set[str] = set()
    for child in body:
        if isinstance(child, BESIDE) and child.name in inner:
            raise refuse(child, f"`{child.name}` names something else in a block above it")
        if not isinstance(child, BESIDE):
            inner |= effects_of(child).defines
    rest: Body = tuple(child for child in body if not isinstance(child, BESIDE))
    parts: list[Body] = []
    for number, kind in enumerate(("load", "matmul")[: count - 1]):
        taken, rest = _leading(rest, kind)
        if not taken:
            raise refuse(loop, f"no {kind} can move to the front, so stage {number} would be empty")
        parts.append(taken)
    if all(effects_of(stmt).ops <= {"fence"} for stmt in rest):
        raise refuse(loop, f"no instruction is left for stage {len(parts)}")
    return [*parts, rest]


def _leading(body: Body, kind: str) -> tuple[Body, Body]:
    """Statements made of one kind of instruction that can move to the front, and all others."""
    taken: list[ir.Stmt] = []
    left: list[ir.Stmt] = []
    for stmt in body:
        moves = effects_of(stmt).ops == {kind} and all(commute(stmt, other) for other in left)
        (taken if moves else left).append(stmt)
    return tuple(taken), tuple(left)


def _height(body: Body) -> int:
    """How many blocks stand in one another below."""
    blocks = [child for child in body if ir.blocks(child)]
    return max((1 + _height(ir.children(child)) for child in blocks), default=0)
