"""Moves: the steps that the agents choose from, larger than one edit.

A kernel has hundreds of legal edits, and most good ideas are one edit at many places: all fences
go, all tiles get a second slot. A Move is an edit's name and argument at one place, at some places
or wherever it is legal. It is tried edit by edit and takes what applies, so it can be repeated on
another kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from m890sim.agents.dice import Dice
from m890sim.kernel import ir
from m890sim.messages import described
from m890sim.schedule import EDITS, Argument, Edit, Site
from m890sim.schedule.core.tree import node, sites
from m890sim.session import Facade, KernelSession, context_of
from m890sim.session.arguments import choice_of

ONE, ALIKE, SOME, ALL, ANY = "one", "alike", "some", "all", "any"
# Reach -> how often it is tried before any experience: what helps in one place often does in all.
REACHES = {ONE: 2.0, ALIKE: 2.0, SOME: 0.5, ALL: 4.0, ANY: 1.0}
MOST_PASSES = 6  # over the kernel, of one move


@dataclass(frozen=True, slots=True)
class Move:
    """An edit at several places of a kernel.

    reach: "one" place; "alike", all places where the statement does the same to the same tile, as
    in two loops with one body; "some", every second place by chance; "all", again and again until
    it is legal nowhere (or MOST_PASSES); "any", all places once, each with an argument by chance.
    draw: the seed of the chances, so that a move means the same each time.
    """

    name: str
    argument: Argument
    reach: str
    draw: int

    def __str__(self) -> str:
        argument = "" if self.argument is None or self.reach == ANY else f"({self.argument})"
        return f"{self.name}{argument} at {self.reach}"


def perform(session: Facade, move: Move) -> int:
    """Apply a move; the number of edits that were made. Raises: TypeError, ValueError."""
    if not isinstance(session, (Facade, KernelSession)):
        raise TypeError(f"session must be a Facade or a KernelSession, not {described(session)}")
    if not isinstance(move, Move):
        raise TypeError(f"move must be a Move, not {described(move)}")
    choice_of("the name of a move", move.name, tuple(EDITS))
    choice_of("reach", move.reach, tuple(REACHES))
    dice = Dice(move.draw)
    if move.reach in (ONE, ALIKE):
        return _at_first(session, move, dice)
    made = _everywhere(session, move, dice)
    if move.reach != ALL or made < 2:
        return made
    last = made
    for _ in range(MOST_PASSES):
        more = _everywhere(session, move, dice)
        made += more
        if not more:
            break
        if more >= last:
            # Moving up and down has no end: it is no sweep, so take back all but what is alike.
            for _ in range(made):
                session.undo()
            return _at_first(session, replace(move, reach=ALIKE), dice)
        last = more
    return made


def _everywhere(session: Facade, move: Move, dice: Dice) -> int:
    """One pass, last place first, so that earlier places stay true."""
    made = 0
    for choices in reversed(_places(session, move)):
        if move.reach != SOME or dice.chance(0.5):
            made += session.attempt(dice.pick(choices))
    return made


def _at_first(session: Facade, move: Move, dice: Dice) -> int:
    """At one place where the edit is legal, or at all that are alike, by chance."""
    groups: dict[object, list[Edit]] = {}
    for choices in _places(session, move):
        for edit in choices:
            key = edit if move.reach == ONE else _kind(session.kernel, edit.site)
            groups.setdefault(key, []).append(edit)
    for alike in dice.shuffled(list(groups.values())):
        made = sum(session.attempt(edit) for edit in reversed(alike))
        if made:
            return made
    return 0


def _places(session: Facade, move: Move) -> list[list[Edit]]:
    """The edits to try at each statement, in the order of the text."""
    kernel, spec = session.kernel, EDITS[move.name]
    context = context_of(session.task, session.chip)
    found = []
    for site, stmt in (((), None), *sites(kernel)):
        arguments = spec.arguments(kernel, site, stmt, context)
        choices = [
            Edit(move.name, site, argument)
            for argument in arguments
            if move.reach == ANY or argument == move.argument
        ]
        if choices:
            found.append(choices)
    return found


def _kind(kernel: ir.Kernel, site: Site) -> tuple[str, ...]:
    return kind_of(node(kernel, site) if site else None)


def kind_of(stmt: ir.Stmt | None) -> tuple[str, ...]:
    """What a statement does, and to which tile, tensor or variable; None: the kernel."""
    if isinstance(stmt, ir.Instr):
        target = stmt.operands[0] if stmt.operands else None
        return (stmt.op, str(getattr(target, "tile", getattr(target, "tensor", ""))))
    named = getattr(stmt, "name", getattr(stmt, "var", ""))
    return (type(stmt).__name__, str(named))


def statements(kernel: ir.Kernel) -> int:
    """How long a kernel is."""
    return sum(1 for _ in sites(kernel))
