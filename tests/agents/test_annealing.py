"""The default agent: groups of edits, what a kernel takes up, what is tried again."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter

import pytest

from m890sim.agents import AgentSession, Dice, get_agent, run_agent
from m890sim.agents.annealing import Interest
from m890sim.agents.groups import SLOT, Group, Grouping, groups_of, perform_all, size_of
from m890sim.schedule import apply
from m890sim.session import KernelSession, LogEntry, Memory
from tests.agents.toys import CASE, TASK

MEMORY = Memory()


def test_groups_are_the_legal_edits_and_none_is_twice() -> None:
    session = KernelSession("extend")
    groups = groups_of(session)
    legal = session.legal_edits()
    assert {edit for edits in groups.values() for edit in edits} == set(legal)
    assert len(set(groups.values())) == len(groups)
    for group, edits in groups.items():
        assert {(edit.name, edit.argument) for edit in edits} == {(group.name, group.argument)}
    everywhere = [group for group in groups if group.kind is None]
    assert {(g.name, g.argument) for g in everywhere} == {(e.name, e.argument) for e in legal}
    # Both loops load a block of keys, so one group splits both loads.
    keys = groups[Group("split_transfer", 2, ("load", "kt"))]
    assert len(keys) == 2


def test_group_is_applied_wherever_it_still_fits() -> None:
    session = KernelSession("extend")
    fences = groups_of(session)[Group("remove_fence", None, None)]
    assert perform_all(session, fences) == len(fences) == 31
    assert not any(edit.name == "remove_fence" for edit in session.legal_edits())
    assert perform_all(session, fences[:1]) == 0


def test_grouping_gives_the_groups_of_the_kernel_that_the_session_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, grouping = KernelSession("extend"), Grouping()
    monkeypatch.setattr(Grouping, "MOST", 2)
    for step in (0, 40, 80, -1, -1, 120):  # -1: undone
        if step < 0:
            session.undo()
        else:
            session.apply(session.legal_edits()[step])
        expected = groups_of(session)
        assert list(grouping.of(session).items()) == list(expected.items())
        assert grouping.of(session) is grouping.of(session)


def test_size_counts_statements_and_further_slots() -> None:
    session = KernelSession("extend")
    plain = size_of(session.kernel)
    edit = next(e for e in session.legal_edits() if (e.name, e.argument) == ("set_slots", 3))
    assert math.isclose(size_of(apply(session.kernel, edit)) - plain, 2 * SLOT)
    fence = next(e for e in session.legal_edits() if e.name == "remove_fence")
    assert size_of(apply(session.kernel, fence)) == plain - 1
    staged = next(e for e in session.legal_edits() if (e.name, e.argument) == ("pipeline", 1))
    assert size_of(apply(session.kernel, staged)) == plain


def draws(interest: Interest, groups: list[Group], count: int = 4000) -> Counter[Group]:
    dice = Dice(5)
    return Counter(interest.choose(dict.fromkeys(groups), dice) for _ in range(count))


def test_what_earned_is_chosen_more_often_and_what_failed_less() -> None:
    good, bad, new = (Group(name, None, None) for name in ("good", "bad", "new"))
    interest = Interest()
    for _ in range(3):
        interest.note(good, 0.2)
        interest.note(bad, -math.inf)
    interest.wake(leap=False)
    interest.wake(leap=False)
    interest.wake(leap=False)  # good may be tried again; bad was counted double
    found = draws(interest, [good, bad, new])
    assert found[good] > 2 * found[new] > 4 * found[bad]
    assert found[bad] > 0


def test_arguments_of_an_edit_share_their_chances() -> None:
    many = [Group("many", number, None) for number in range(16)]
    found = draws(Interest(), [*many, Group("one", None, None)])
    share = sum(found[group] for group in many) / found[Group("one", None, None)]
    assert 3 < share < 5  # as the square root of their number


class Strict(AgentSession):
    """Turns down a third of the kernels that would be the best, and keeps what was evaluated."""

    entries: list[LogEntry]

    def evaluate(self, verify: str | None = None) -> LogEntry:
        spent = self.spent
        entry = super().evaluate(verify)
        if entry.correct and entry.edits and int(entry.digest, 16) % 3 == 0:
            entry = dataclasses.replace(entry, correct=False, accepted=False)
        if self.spent > spent:
            self.entries.append(entry)
        return entry


def test_search_leaves_what_was_never_judged_and_led_to_wrong_values() -> None:
    left = 0
    for seed in range(6):
        session = Strict(TASK, CASE, budget=80, distributions=("normal",), memory=MEMORY)
        session.entries = []
        run_agent(get_agent("annealing"), session, seed)
        entries = session.entries
        for number, wrong in enumerate(entries):
            if wrong.correct is not False or wrong.outcome.code:
                continue
            before = [entry for entry in entries[:number] if begins(wrong, entry)]
            right = max(len(entry.edits) for entry in before if entry.correct)
            for entry in before:
                if entry.correct is None and len(entry.edits) > right:
                    left += 1
                    assert not any(begins(later, entry) for later in entries[number + 1 :])
    assert left > 3


def test_what_has_no_room_is_tried_with_a_smaller_block() -> None:
    smaller = refused = 0
    for seed in range(4):
        session = AgentSession("attention_head", budget=100, verify="never", memory=MEMORY)
        run_agent(get_agent("annealing"), session, seed)
        log = session.log
        for full, after in itertools.pairwise(log):
            if full.code in ("E301", "E302") and begins(after, full):
                last = after.edits[-1]
                assert (last.name, last.argument[1]) == ("set_tunable", "halve")
                assert len(after.edits) == len(full.edits) + 1
                smaller += 1
        refused += sum(bool(entry.code) for entry in log)
    assert refused > smaller > 3


def begins(entry: LogEntry, other: LogEntry) -> bool:
    """Whether the way to one kernel leads over another one."""
    return entry.edits[: len(other.edits)] == other.edits
