"""Edits of stages: what stands in which, and taking them away."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set

from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.language.reserved import MAX_STAGE
from m890sim.schedule.core.effects import Effects, effects_of
from m890sim.schedule.core.names import top_names
from m890sim.schedule.core.scopes import in_stages
from m890sim.schedule.core.tree import Body, contents, expect, replace, staged
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse

BESIDE = (ir.Let, ir.TileDecl)  # what may stand beside stages


def with_slots(kernel: ir.Kernel, loop: ir.Loop) -> ir.Loop:
    """A loop with stages, its tiles with the slots that they need.

    Raises: EditError where the stages would change the result (E221).
    """
    stages = {child.index: effects_of(child) for child in loop.body if isinstance(child, ir.Stage)}
    for text in carried(stages, contents(loop.body).tiles.keys()).values():
        remedy = "keep it in one stage, or sink its declaration into the loop"
        raise refuse(loop, f"{text}; {remedy}")
    used = _used_in_several(stages)
    body = list(loop.body)
    for name, place in contents(loop.body).tiles.items():
        tile, at = body[place], used.get(name, [0])
        assert isinstance(tile, ir.TileDecl)
        need = at[-1] - at[0] + 1
        if evaluate(tile.slots, kernel.tunables) < need:
            body[place] = dataclasses.replace(tile, slots=ir.Const(need))
    return dataclasses.replace(loop, body=tuple(body))


def carried(stages: Mapping[int, Effects], own: Set[str]) -> dict[str, str]:
    """Names that stages write, several touch and the loop does not declare -> what is wrong."""
    used = _used_in_several(stages)
    written = {name for found in stages.values() for name in found.writes}
    return {
        name: f"`{name}` is written in this loop, declared outside it and would be used in stages "
        f"{' and '.join(map(str, used[name]))}"
        for name in sorted((used.keys() & written) - own)
    }


def _used_in_several(stages: Mapping[int, Effects]) -> dict[str, list[int]]:
    """Names that several stages touch and none defines, and the numbers of these stages."""
    touched: dict[str, list[int]] = {}
    for index in sorted(stages):
        for name in (stages[index].reads | stages[index].writes) - stages[index].defines:
            touched.setdefault(name, []).append(index)
    return {name: at for name, at in touched.items() if len(at) > 1}


@edit(19, on="Stage", scope=in_stages, exact=True)
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
    return _passed_on(kernel, site, 1)


@edit(20, on="Stage", scope=in_stages, exact=True)
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
    return _passed_on(kernel, site, -1)


def _passed_on(kernel: ir.Kernel, site: Site, step: int) -> ir.Kernel:
    """The last statement of a stage goes to the next stage (1), or the first to the one before."""
    stage, loop = expect(kernel, site, ir.Stage), expect(kernel, site[:-1], ir.Loop)
    at, body = site[-1], list(loop.body)
    movable = [i for i, child in enumerate(stage.body) if not isinstance(child, BESIDE)]
    if not movable:
        raise refuse(stage, "this stage has no statement to pass on")
    place = movable[-1 if step > 0 else 0]
    stmt, left = stage.body[place], stage.body[:place] + stage.body[place + 1 :]
    found = effects_of(stmt)
    used = found.names.intersection(top_names(stage.body))
    if used:
        raise refuse(stmt, f"this statement uses `{min(used)}`, which belongs to its stage")
    stages = [i for i, child in enumerate(body) if isinstance(child, ir.Stage)]
    emptied = len(movable) == 1
    if step > 0 and emptied and at in (stages[0], stages[-1]):
        raise refuse(stage, "the stage would be empty; a loop keeps its first and last stage")
    if step < 0 and at == stages[0]:
        raise refuse(stage, "there is no stage before this one")
    new: Body = () if emptied else (dataclasses.replace(stage, body=left),)
    if step > 0 and at == stages[-1]:
        if stage.index >= MAX_STAGE:
            raise refuse(stage, f"stages have numbers up to {MAX_STAGE}")
        new += (ir.Stage(stage.index + 1, (stmt,)),)
    else:
        to = stages[stages.index(at) + step]
        target = body[to]
        assert isinstance(target, ir.Stage)
        # It moves past definitions between the two; of the other stage it enters the scope.
        clash = found.defines.intersection(top_names(body[min(at, to) : max(at, to)]))
        if step < 0:
            clash |= found.names.intersection(top_names(body[to:at]))
            clash |= found.defines.intersection(top_names(target.body))
        if clash:
            where = "between the two stages or in the other one"
            raise refuse(stmt, f"`{min(clash)}` is defined {where}")
        moved = (stmt, *target.body) if step > 0 else (*target.body, stmt)
        body[to] = dataclasses.replace(target, body=moved)
    body[at : at + 1] = new
    passed = with_slots(kernel, dataclasses.replace(loop, body=tuple(body)))
    return replace(kernel, site[:-1], passed)


_STAGED = (lambda kernel, site, loop: staged(loop), "only a loop with stages can lose them")


@edit(21, on="Loop", only=_STAGED, scope=in_stages, exact=True)
def unstage(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Removes the stages of a loop; their statements stay in the order of the text.

    for j in range(n):             ->  for j in range(n):
        with stage(0):                     load(a, x[j, :, :])
            load(a, x[j, :, :])            add(s, s, a)
        with stage(1):
            add(s, s, a)

    No name of a stage is defined again below it in the loop.
    """
    loop = expect(kernel, site, ir.Loop)
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
