"""Evaluations as lines of a run's log, and what a repeated run may take over from them.

A line names its parent, an earlier evaluation, and the edits from there, so that lines stay short
however far the search has come. The kernel of an agent that writes text stands in its line whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m890sim.agents.chain import CHAIN
from m890sim.agents.clock import Clock
from m890sim.agents.differences import difference
from m890sim.chip import ChipSpec
from m890sim.schedule import Edit
from m890sim.session import LogEntry, Memory, Verdict, edit_from_data
from m890sim.session.memory import GateSettings, Space, State
from m890sim.session.records import Outcome
from m890sim.session.stored import Evaluations
from m890sim.workloads import Case, Task


class _Node:
    """A kernel on the way to evaluated ones."""

    __slots__ = ("entry", "next")

    def __init__(self) -> None:
        self.entry: int | None = None
        self.next: dict[Edit, _Node] = {}


class Lines:
    """Entries of one session -> lines, in order."""

    def __init__(self) -> None:
        self._root = _Node()
        self._best = 1.0

    def line(self, entry: LogEntry, source: str | None = None) -> dict[str, Any]:
        """The next entry as plain data, without its place in the chain.

        The keys of `LogEntry.as_dict`; `edits` are those since `parent` (None: the start kernel);
        `best_speedup` is that of the best accepted entry so far. source: the kernel's text where
        it was written and not edited; it then stands in place of the edits.
        """
        parent, since = None, 0
        if source is None:
            node = self._root
            for number, edit in enumerate(entry.edits, 1):
                node = node.next.setdefault(edit, _Node())
                if node.entry is not None:
                    parent, since = node.entry, number
            if node.entry is None:
                node.entry = entry.index
        if entry.accepted:
            self._best = max(self._best, entry.speedup)
        data = entry.as_dict(since) | {"parent": parent, "best_speedup": self._best}
        if source is None:
            return data
        del data["edits"]
        return data | {"source": source}


def edits_of(lines: Sequence[Mapping[str, Any]], index: int) -> list[Edit]:
    """The edits from the start kernel to an evaluation, through its parents.

    Raises: ValueError, KeyError or IndexError for what are no lines of one run.
    """
    parts: list[list[Edit]] = []
    at: int | None = index
    while at is not None:
        line = lines[at]
        parts.append([edit_from_data(data) for data in line["edits"]])
        parent = line["parent"]
        if parent is not None and not 0 <= parent < at:
            raise ValueError(f"the parent of evaluation {at} cannot be {parent}")
        at = parent
    return [edit for part in reversed(parts) for edit in part]


def differing(line: Mapping[str, Any], logged: Mapping[str, Any]) -> str:
    """Where a logged evaluation is not the repeated one, in the order of its text; "" nowhere.

    The chain is not looked at.
    """
    said = {key: value for key, value in logged.items() if key != CHAIN}
    return difference(said, dict(line))


class Verdicts(Memory):
    """A memory that takes most of the gate's verdicts from an earlier run's lines.

    Timings are made again: they take little, and show that log and simulator still agree. So are
    the verdicts that the run stands on: of the start kernel, of the best, and all refusals, which
    are few, as edits keep the meaning. The others would take as long as the search did; `verify`
    works them out.
    """

    def __init__(
        self,
        lines: Sequence[Mapping[str, Any]],
        clock: Clock | None = None,
        evaluations: Evaluations | None = None,
    ) -> None:
        super().__init__(evaluations=evaluations)
        self._clock = Clock() if clock is None else clock
        self._logged: dict[str, Verdict] = {}
        accepted = [line for line in lines[1:] if line["correct"] is True and "profile" not in line]
        for line in accepted[:-1]:
            if line["digest"] != lines[0]["digest"]:
                verdict = Verdict(line["correct"], line["code"], line["message"])
                self._logged[line["digest"]] = verdict

    def verdict(self, space: Space, state: State, gate: GateSettings) -> Verdict:
        """As `Memory.verdict`, without the gate where the log has its verdict."""
        found = self._logged.get(state.digest)
        if found is not None:
            return found
        with self._clock.during("gate"):
            return super().verdict(space, state, gate)

    def space(self, task: Task, chip: ChipSpec, cases: tuple[Case, ...]) -> Space:
        """As `Memory.space`."""
        with self._clock.during("timing"):
            return super().space(task, chip, cases)

    def profile(self, space: Space, state: State, case: Case) -> str:
        """As `Memory.profile`."""
        with self._clock.during("timing"):
            return super().profile(space, state, case)

    def outcome(self, space: Space, state: State) -> Outcome:
        """As `Memory.outcome`."""
        with self._clock.during("timing"):
            return super().outcome(space, state)
