"""Edits that pipeline a loop: its stages, and what stands in which."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Set

from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.language import DEFAULT_LIMITS
from m890sim.schedule.edit import Argument, Context, EditSpec, Site, heads, refuse
from m890sim.schedule.effects import Effects, effects_of, known_effects
from m890sim.schedule.tree import Body, in_stages, node, replace

_LAST = 7  # the highest number of a stage
_BESIDE = (ir.Let, ir.TileDecl)  # what may stand beside stages


def has_stages(loop: ir.Loop) -> bool:
    """Whether a loop is pipelined."""
    return in_stages(loop.body)


def _with_slots(kernel: ir.Kernel, loop: ir.Loop) -> ir.Loop:
    """A loop with stages, its tiles with the slots that they need.

    Raises: EditError where the stages would change the result (E221).
    """
    stages = {child.index: effects_of(child) for child in loop.body if isinstance(child, ir.Stage)}
    tiles = {child.name for child in loop.body if isinstance(child, ir.TileDecl)}
    needs = _refuse_carried(loop, stages, tiles)
    body: list[ir.Stmt] = []
    for child in loop.body:
        if isinstance(child, ir.TileDecl) and child.name in needs:
            need = needs.pop(child.name)
            if evaluate(child.slots, kernel.tunables) < need:
                child = dataclasses.replace(child, slots=ir.Const(need))
        body.append(child)
    return dataclasses.replace(loop, body=tuple(body))


def _refuse_carried(
    loop: ir.Loop, stages: Mapping[int, Effects], tiles: Set[str]
) -> dict[str, int]:
    """Slots that names used in several stages need.

    Raises: EditError for one that the loop writes and does not declare.
    """
    touched: dict[str, set[int]] = {}
    written: set[str] = set()
    for index, found in stages.items():
        for name in (found.reads | found.writes) - found.defines:
            touched.setdefault(name, set()).add(index)
        written |= found.writes - found.defines
    needs = {name: max(at) - min(at) + 1 for name, at in touched.items() if len(at) > 1}
    carried = min((name for name in needs if name in written and name not in tiles), default=None)
    if carried is not None:
        both = " and ".join(str(index) for index in sorted(touched[carried]))
        raise refuse(
            loop,
            f"`{carried}` is written in this loop, declared outside it and would be used in "
            f"stages {both}; keep it in one stage, or sink its declaration into the loop",
        )
    return needs


def pipeline(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Puts the statements of a loop into 1, 2 or 3 stages; slots of tiles grow to what they need.

    for j in range(n):             ->  for j in range(n):
        a = sram(8, 8, bf16)               a = sram(8, 8, bf16, slots=2)
        load(a, x[j, :, :])                with stage(0):
        add(s, s, a)                           load(a, x[j, :, :])
                                           with stage(1):
                                               add(s, s, a)

    One stage holds everything. Of two, the first holds the loads that can move to the front (an
    `if` or a loop of loads too); of three, the second holds the matmuls that can then move to the
    front of the rest. The loop has no stages, each stage would hold something, and no tile or
    tensor from outside that the loop writes would be used in two stages. Assignments and tiles
    stand above the stages.
    """
    loop, parts = _parts(kernel, site, argument)
    beside = tuple(child for child in loop.body if isinstance(child, _BESIDE))
    staged = (ir.Stage(number, part) for number, part in enumerate(parts))
    changed = dataclasses.replace(loop, body=(*beside, *staged))
    return replace(kernel, site, _with_slots(kernel, changed))


def require_pipeline(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> None:
    """Raises: EditError where a loop cannot be pipelined."""
    loop, parts = _parts(kernel, site, argument)
    tiles = {child.name for child in loop.body if isinstance(child, ir.TileDecl)}
    _refuse_carried(
        loop, {number: known_effects(*part) for number, part in enumerate(parts)}, tiles
    )


def _parts(kernel: ir.Kernel, site: Site, argument: Argument) -> tuple[ir.Loop, list[Body]]:
    """The loop, and what each stage would hold."""
    loop = node(kernel, site)
    if not isinstance(loop, ir.Loop):
        raise refuse(loop, "only a loop over a range can be pipelined")
    if has_stages(loop):
        raise refuse(loop, "this loop has stages already; remove them first with unstage")
    if not isinstance(argument, int) or not 1 <= argument <= 3:
        raise refuse(loop, f"the number of stages must be 1, 2 or 3, not {argument!r}")
    rest: Body = tuple(child for child in loop.body if not isinstance(child, _BESIDE))
    _refuse_early_names(loop)
    parts: list[Body] = []
    for number, kind in enumerate(("load", "matmul")[: argument - 1]):
        taken, rest = _leading(rest, kind)
        if not taken:
            raise refuse(loop, f"no {kind} can move to the front, so stage {number} would be empty")
        parts.append(taken)
    if all(effects_of(stmt).ops <= {"fence"} for stmt in rest):
        raise refuse(loop, f"no instruction is left for stage {len(parts)}")
    parts.append(rest)
    if len(site) + 1 + _height(loop.body) > DEFAULT_LIMITS.nesting:
        raise refuse(loop, f"blocks would stand more than {DEFAULT_LIMITS.nesting} deep")
    return loop, parts


def _height(body: Body) -> int:
    """How many blocks stand in one another below."""
    blocks = [child for child in body if not isinstance(child, (*_BESIDE, ir.Instr))]
    return max((1 + _height(ir.children(child)) for child in blocks), default=0)


def _refuse_early_names(loop: ir.Loop) -> None:
    """Refuses where a name of the loop's own block would hide one of a block that is now below."""
    inner: set[str] = set()
    for child in loop.body:
        if isinstance(child, _BESIDE):
            if child.name in inner:
                raise refuse(child, f"`{child.name}` names something else in a block above it")
        elif not isinstance(child, ir.Instr):
            inner |= effects_of(child).defines


def _leading(body: Body, kind: str) -> tuple[Body, Body]:
    """Statements made of one kind of instruction that can move to the front, and all others."""
    taken: list[ir.Stmt] = []
    left: list[ir.Stmt] = []
    ahead = Effects()  # what stands above and stays
    for stmt in body:
        found = effects_of(stmt)
        clash = found.writes & (ahead.reads | ahead.writes) or found.reads & ahead.writes
        if not clash and _made_of(stmt, kind):
            taken.append(stmt)
        else:
            left.append(stmt)
            ahead.reads |= found.reads
            ahead.writes |= found.writes
    return tuple(taken), tuple(left)


def _made_of(stmt: ir.Stmt, kind: str) -> bool:
    return effects_of(stmt).ops == {kind}


def _neighbours(kernel: ir.Kernel, site: Site) -> tuple[ir.Loop, ir.Stage, int]:
    stage = node(kernel, site)
    loop = node(kernel, site[:-1]) if len(site) > 1 else stage
    if not isinstance(stage, ir.Stage) or not isinstance(loop, ir.Loop):
        raise refuse(stage, "only a stage passes statements on; pipeline the loop first")
    return loop, stage, site[-1]


def _passed_on(stage: ir.Stage, last: bool) -> tuple[ir.Stmt, Body]:
    """The last or first statement of a stage that may leave it, and what remains."""
    places = [i for i, child in enumerate(stage.body) if not isinstance(child, _BESIDE)]
    if not places:
        raise refuse(stage, "this stage has no statement to pass on")
    at = places[-1 if last else 0]
    stmt = stage.body[at]
    found = effects_of(stmt)
    own = {child.name for child in stage.body if isinstance(child, _BESIDE)}
    used = sorted(own & (found.uses | found.reads | found.writes))
    if used:
        raise refuse(stmt, f"this statement uses `{used[0]}`, which belongs to its stage")
    return stmt, stage.body[:at] + stage.body[at + 1 :]


def _refuse_names(stmt: ir.Stmt, body: Body, uses: bool) -> None:
    """Refuses to move a statement past definitions (uses), or into their scope."""
    names = {child.name for child in body if isinstance(child, _BESIDE)}
    found = effects_of(stmt)
    mine = found.defines | (found.uses | found.reads | found.writes if uses else set())
    if names & mine:
        raise refuse(
            stmt, f"`{min(names & mine)}` is defined between the two stages or in the other one"
        )


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
    emptied = all(isinstance(child, _BESIDE) for child in left)
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
    return replace(kernel, site[:-1], _with_slots(kernel, dataclasses.replace(loop, body=body)))


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
    emptied = all(isinstance(child, _BESIDE) for child in left)
    kept = () if emptied else (dataclasses.replace(stage, body=left),)
    body = (*loop.body[: before[-1]], moved, *between, *kept, *loop.body[at + 1 :])
    return replace(kernel, site[:-1], _with_slots(kernel, dataclasses.replace(loop, body=body)))


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
    if not isinstance(loop, ir.Loop) or not has_stages(loop):
        raise refuse(loop, "only a loop with stages can lose them")
    later: set[str] = set()
    body: Body = ()
    for child in reversed(loop.body):
        inside: Body = (child,)
        if isinstance(child, ir.Stage):
            inside = _commented(child)
            for stmt in inside:
                if isinstance(stmt, _BESIDE) and stmt.name in later:
                    raise refuse(stmt, f"`{stmt.name}` is defined again in this loop; rename one")
        later |= effects_of(child).defines
        body = inside + body
    return replace(kernel, site, dataclasses.replace(loop, body=body))


def _commented(stage: ir.Stage) -> Body:
    """The statements of a stage; its comments go to the first."""
    lines = stage.comments.above + ((stage.comments.beside,) if stage.comments.beside else ())
    if not lines or not stage.body:
        return stage.body
    first = stage.body[0]
    comments = ir.Comments(lines + first.comments.above, first.comments.beside)
    return (dataclasses.replace(first, comments=comments), *stage.body[1:])


def _counts(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[int]:
    if isinstance(stmt, ir.Loop) and not has_stages(stmt):
        ops = effects_of(stmt).ops - {"fence"}
        if ops:
            yield 1
        if "load" in ops and len(ops) > 1:
            yield 2
            if "matmul" in ops:
                yield 3


def _stages(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[None]:
    if isinstance(stmt, ir.Stage):
        yield None


def _staged(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[None]:
    if isinstance(stmt, ir.Loop) and has_stages(stmt):
        yield None


def _in_its_loop(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: a statement, the one around it, the values of tunables, and the depth."""
    around = node(kernel, site[:-1]) if len(site) > 1 else None
    return (stmt, around if isinstance(stmt, ir.Stage) else None, kernel.params, len(site))


ROWS: tuple[EditSpec, ...] = (
    EditSpec(
        "pipeline",
        "put a loop's statements into 1, 2 or 3 stages",
        _counts,
        pipeline,
        heads("Loop"),
        _in_its_loop,
        require_pipeline,
    ),
    EditSpec(
        "stage_later",
        "move a stage's last statement into the next stage",
        _stages,
        stage_later,
        heads("Stage"),
        _in_its_loop,
    ),
    EditSpec(
        "stage_earlier",
        "move a stage's first statement into the stage before",
        _stages,
        stage_earlier,
        heads("Stage"),
        _in_its_loop,
    ),
    EditSpec(
        "unstage",
        "remove the stages of a loop",
        _staged,
        unstage,
        heads("Loop"),
        _in_its_loop,
    ),
)
