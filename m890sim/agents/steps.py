"""Steps: the groups of edits that led to a kernel, made again with one more among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from m890sim.agents.groups import Group, perform_all
from m890sim.agents.moves import kind_of
from m890sim.schedule.core.tree import sites
from m890sim.session import Facade, Place


@dataclass(frozen=True, slots=True)
class StepList:
    """Steps in order, and the places before each of them and behind the last.

    lost: those that no longer applied when they were made again.
    """

    steps: tuple[Group, ...]
    places: tuple[Place, ...]
    lost: tuple[Group, ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def end(self) -> Place:
        """Behind the last step."""
        return self.places[-1]


def start_of(session: Facade) -> StepList:
    """No steps, from where the session is."""
    return StepList((), (session.position(),))


def perform_group(session: Facade, group: Group) -> int:
    """Make a group's edit at all places of its kind where it is legal now; at how many."""
    edits = [edit for edit in session.legal_edits(group.name) if edit.argument == group.argument]
    if group.kind is not None and edits:
        kinds = {site: kind_of(stmt) for site, stmt in sites(session.kernel)}
        edits = [edit for edit in edits if kinds.get(edit.site, ("Kernel",)) == group.kind]
    return perform_all(session, tuple(edits))


def inserted(
    session: Facade, done: StepList, at: int, groups: Sequence[Group], rest: Sequence[Group]
) -> StepList | None:
    """The first `at` steps, then the groups, then the rest as far as it still applies.

    The session is at the new end afterwards; where a group does not apply it is anywhere: None.
    """
    session.go_to(done.places[at])
    steps, places = list(done.steps[:at]), list(done.places[: at + 1])
    lost = []
    for number, group in enumerate((*groups, *rest)):
        if perform_group(session, group):
            steps.append(group)
            places.append(session.position())
        elif number < len(groups):
            return None
        else:
            lost.append(group)
    return StepList(tuple(steps), tuple(places), tuple(lost))


def inserted_early(
    session: Facade, done: StepList, at: int, groups: Sequence[Group]
) -> StepList | None:
    """As `inserted` before the steps from `at`; what would be lost is made before the groups."""
    rest = done.steps[at:]
    found = inserted(session, done, at, groups, rest)
    if found is None or not found.lost:
        return found
    lost = list(found.lost)
    kept = [step for step in rest if not _taken(lost, step)]
    saved = inserted(session, done, at, (*found.lost, *groups), kept)
    if saved is not None and len(saved.lost) < len(found.lost):
        return saved
    session.go_to(found.end)
    return found


def _taken(lost: list[Group], step: Group) -> bool:
    """Whether the step is the next one of those lost, which is crossed out."""
    if lost and lost[0] == step:
        del lost[0]
        return True
    return False


def every_insertion(
    session: Facade, done: StepList, groups: Sequence[Group], before: int
) -> Iterator[StepList]:
    """The groups put in before each step, from the one numbered `before` down to the first."""
    for at in range(before, -1, -1):
        found = inserted_early(session, done, at, groups)
        if found is not None:
            yield found
