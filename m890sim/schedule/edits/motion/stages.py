"""Edits of stages: what stands in which, and taking them away."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Set

from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.schedule.core.effects import Effects, effects_of
from m890sim.schedule.core.tree import Body, contents, node, replace
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse

_LAST = 7  # the highest number of a stage
BESIDE = (ir.Let, ir.TileDecl)  # what may stand beside stages


def staged(loop: ir.Loop) -> bool:
    """Whether a loop is pipelined."""
    return contents(loop.body).staged


def with_slots(kernel: ir.Kernel, loop: ir.Loop) -> ir.Loop:
    """A loop with stages, its tiles with the slots that they need.

    Raises: EditError where the stages would change the result (E221).
    """
    stages = {child.index: effects_of(child) for child in loop.body if isinstance(child, ir.Stage)}
    tiles = {child.name for child in loop.body if isinstance(child, ir.TileDecl)}
    needs = slots_of_stages(loop, stages, tiles)
    body: list[ir.Stmt] = []
    for child in loop.body:
        if isinstance(child, ir.TileDecl) and child.name in needs:
            need = needs.pop(child.name)
            if evaluate(child.slots, kernel.tunables) < need:
                child = dataclasses.replace(child, slots=ir.Const(need))
        body.append(child)
    return dataclasses.replace(loop, body=tuple(body))


def slots_of_stages(
    loop: ir.Loop, stages: Mapping[int, Effects], tiles: Set[str]
) -> dict[str, int]:
    """Slots that names used in several stages need.

    Raises: EditError for one that the loop writes and does not declare.
    """
    used = used_in_several(stages)
    carried = min(carried_by(stages, used) - tiles, default=None)
    if carried is not None:
        raise refuse(
            loop,
            f"{carried_text(carried, used[carried])}; keep it in one stage, or sink its "
            "declaration into the loop",
        )
    return {name: max(at) - min(at) + 1 for name, at in used.items()}


def used_in_several(stages: Mapping[int, Effects]) -> dict[str, list[int]]:
    """Names that several stages touch and none defines, and the numbers of these stages."""
    touched: dict[str, list[int]] = {}
    for index, found in stages.items():
        for name in (found.reads | found.writes) - found.defines:
            touched.setdefault(name, []).append(index)
    return {name: sorted(at) for name, at in touched.items() if len(at) > 1}


def carried_by(stages: Mapping[int, Effects], used: Mapping[str, list[int]]) -> set[str]:
    """Those of some names that the stages write."""
    return {name for found in stages.values() for name in found.writes & used.keys()}


def carried_text(name: str, stages: list[int]) -> str:
    """What is wrong with a tile of several stages that is not the iteration's own."""
    return (
        f"`{name}` is written in this loop, declared outside it and would be used in stages "
        f"{' and '.join(map(str, stages))}"
    )


def _neighbours(kernel: ir.Kernel, site: Site) -> tuple[ir.Loop, ir.Stage, int]:
    stage = node(kernel, site)
    loop = node(kernel, site[:-1]) if len(site) > 1 else stage
    if not isinstance(stage, ir.Stage) or not isinstance(loop, ir.Loop):
        raise refuse(stage, "only a stage passes statements on; pipeline the loop first")
    return loop, stage, site[-1]


def _passed_on(stage: ir.Stage, last: bool) -> tuple[ir.Stmt, Body]:
    """The last or first statement of a stage that may leave it, and what remains."""
    places = [i for i, child in enumerate(stage.body) if not isinstance(child, BESIDE)]
    if not places:
        raise refuse(stage, "this stage has no statement to pass on")
    at = places[-1 if last else 0]
    stmt = stage.body[at]
    found = effects_of(stmt)
    own = {child.name for child in stage.body if isinstance(child, BESIDE)}
    used = sorted(own & (found.uses | found.reads | found.writes))
    if used:
        raise refuse(stmt, f"this statement uses `{used[0]}`, which belongs to its stage")
    return stmt, stage.body[:at] + stage.body[at + 1 :]


def _refuse_names(stmt: ir.Stmt, body: Body, uses: bool) -> None:
    """Refuses to move a statement past definitions (uses), or into their scope."""
    names = {child.name for child in body if isinstance(child, BESIDE)}
    found = effects_of(stmt)
    mine = found.defines | (found.uses | found.reads | found.writes if uses else set())
    if names & mine:
        raise refuse(
            stmt, f"`{min(names & mine)}` is defined between the two stages or in the other one"
        )


def _stages(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[None]:
    if isinstance(stmt, ir.Stage):
        yield None


def _in_its_loop(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: a statement, the one around a stage, the values of tunables."""
    around = node(kernel, site[:-1]) if isinstance(stmt, ir.Stage) and len(site) > 1 else None
    return (stmt, around, kernel.params)


@edit(19, on="Stage", arguments=_stages, scope=_in_its_loop, exact=True)
def stage_later(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Moves the last statement of a stage to the beginning of the next one.

    with stage(0):                     ->  with stage(0):
        load(a, x[j, :, :])                    load(a, x[j, :, :])
        mul(a, a, 2.0)                     with stage(1):
    with stage(1):                             mul(a, a, 2.0)
        add(s, s, a)                           add(s, s, a)

    Where there is no next stage, one is begun; a stage that is left empty goes, unless it is the
    first. The statement uses no name of its stage, and no tile or tensor from outside the loop that
    the loop writes is then used in two stages. Slots of tiles grow to what they need.
    """
    loop, stage, at = _neighbours(kernel, site)
    stmt, left = _passed_on(stage, last=True)
    following = [i for i in range(at + 1, len(loop.body)) if isinstance(loop.body[i], ir.Stage)]
    emptied = all(isinstance(child, BESIDE) for child in left)
    first = not any(isinstance(child, ir.Stage) for child in loop.body[:at])
    if emptied and (first or not following):
        raise refuse(stage, "the stage would be empty; a loop keeps its first and last stage")
    kept = () if emptied else (dataclasses.replace(stage, body=left),)
    if following:
        to = following[0]
        target = loop.body[to]
        assert isinstance(target, ir.Stage)
        between = loop.body[at + 1 : to]
        after = loop.body[to + 1 :]
        _refuse_names(stmt, between, uses=False)
        moved = dataclasses.replace(target, body=(stmt, *target.body))
    else:
        if stage.index >= _LAST:
            raise refuse(stage, f"stages have numbers up to {_LAST}")
        between, after = (), loop.body[at + 1 :]
        moved = ir.Stage(stage.index + 1, (stmt,))
    body = (*loop.body[:at], *kept, *between, moved, *after)
    return replace(kernel, site[:-1], with_slots(kernel, dataclasses.replace(loop, body=body)))


@edit(20, on="Stage", arguments=_stages, scope=_in_its_loop, exact=True)
def stage_earlier(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Moves the first statement of a stage to the end of the one before.

    with stage(0):                     ->  with stage(0):
        load(a, x[j, :, :])                    load(a, x[j, :, :])
    with stage(1):                             mul(a, a, 2.0)
        mul(a, a, 2.0)                     with stage(1):
        add(s, s, a)                           add(s, s, a)

    A stage that is left empty goes. There is a stage before, the statement uses no name of its
    stage or between the two, and no tile or tensor from outside the loop that the loop writes is
    then used in two stages. Slots of tiles grow to what they need.
    """
    loop, stage, at = _neighbours(kernel, site)
    stmt, left = _passed_on(stage, last=False)
    before = [i for i in range(at) if isinstance(loop.body[i], ir.Stage)]
    if not before:
        raise refuse(stage, "there is no stage before this one")
    target = loop.body[before[-1]]
    assert isinstance(target, ir.Stage)
    between = loop.body[before[-1] + 1 : at]
    _refuse_names(stmt, between, uses=True)
    _refuse_names(stmt, target.body, uses=False)
    moved = dataclasses.replace(target, body=(*target.body, stmt))
    emptied = all(isinstance(child, BESIDE) for child in left)
    kept = () if emptied else (dataclasses.replace(stage, body=left),)
    body = (*loop.body[: before[-1]], moved, *between, *kept, *loop.body[at + 1 :])
    return replace(kernel, site[:-1], with_slots(kernel, dataclasses.replace(loop, body=body)))


def _staged(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[None]:
    if isinstance(stmt, ir.Loop) and staged(stmt):
        yield None


@edit(21, on="Loop", arguments=_staged, scope=_in_its_loop, exact=True)
def unstage(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Removes the stages of a loop; their statements stay in the order of the text.

    for j in range(n):             ->  for j in range(n):
        with stage(0):                     load(a, x[j, :, :])
            load(a, x[j, :, :])            add(s, s, a)
        with stage(1):
            add(s, s, a)

    No name of a stage is defined again below it in the loop.
    """
    loop = node(kernel, site)
    if not isinstance(loop, ir.Loop) or not staged(loop):
        raise refuse(loop, "only a loop with stages can lose them")
    return replace(kernel, site, dataclasses.replace(loop, body=unstaged(loop)))


def unstaged(loop: ir.Loop) -> Body:
    """The statements of a loop without its stages, if it has any.

    Raises: EditError where a name of a stage is defined again below it.
    """
    later: set[str] = set()
    body: Body = ()
    for child in reversed(loop.body):
        inside: Body = (child,)
        if isinstance(child, ir.Stage):
            inside = _commented(child)
            for stmt in inside:
                if isinstance(stmt, BESIDE) and stmt.name in later:
                    raise refuse(stmt, f"`{stmt.name}` is defined again in this loop; rename one")
        later |= effects_of(child).defines
        body = inside + body
    return body


def _commented(stage: ir.Stage) -> Body:
    """The statements of a stage; its comments go to the first."""
    lines = stage.comments.above + ((stage.comments.beside,) if stage.comments.beside else ())
    if not lines or not stage.body:
        return stage.body
    first = stage.body[0]
    comments = ir.Comments(lines + first.comments.above, first.comments.beside)
    return (dataclasses.replace(first, comments=comments), *stage.body[1:])
