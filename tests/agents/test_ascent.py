"""The ascent: steps in another order, what shuts out what, hopes, and how full memories are."""

from __future__ import annotations

import math

import pytest

from m890sim.agents import AGENTS, AgentSession, run_agent
from m890sim.agents.ascent import _AscentSearch
from m890sim.agents.groups import Group
from m890sim.agents.hopes import FIRST, MOST, UNTRIED, Hopes
from m890sim.agents.steps import (
    StepList,
    every_insertion,
    inserted,
    inserted_early,
    perform_group,
    start_of,
)
from m890sim.session import Facade, KernelSession, Memory
from tests.agents.toys import CASE, TASK

MEMORY = Memory()
NO_FENCES = Group("remove_fence", None, None)
LARGER = Group("set_tunable", ("BK", "double"), None)
PACKED = Group("pack_heads", "grow", None)
PARTS = Group("split_range", 4, None)
PAIRED = "pair_heads"


def decode(**settings: object) -> AgentSession:
    settings = {"memory": MEMORY, "budget": 40, "verify": "never", **settings}
    return AgentSession("decode", ["decode-4x8192"], **settings)


def steps(session: AgentSession, *groups: Group) -> StepList:
    found = inserted(session, start_of(session), 0, groups, ())
    assert found is not None and found.steps == groups and not found.lost
    return found


def legal_names(session: AgentSession) -> set[str]:
    return {edit.name for edit in session.legal_edits()}


def test_steps_put_in_make_the_kernel_that_they_make_in_that_order() -> None:
    session = decode()
    done = steps(session, NO_FENCES, PACKED)
    found = inserted(session, done, 1, [LARGER], done.steps[1:])
    assert found is not None and found.steps == (NO_FENCES, LARGER, PACKED)
    twin = decode(memory=Memory())
    for group in found.steps:
        assert perform_group(twin, group)
    assert twin.digest == session.digest
    for place, group in zip(found.places, found.steps, strict=False):
        session.go_to(place)
        assert perform_group(session, group)
    assert session.digest == twin.digest


def test_what_would_be_lost_is_made_before() -> None:
    session = decode()
    done = steps(session, LARGER, PACKED)
    plain = inserted(session, done, 0, [PARTS], done.steps)
    assert plain is not None and plain.lost == (LARGER,)
    saved = inserted_early(session, done, 0, [PARTS])
    assert saved is not None and saved.steps == (LARGER, PARTS, PACKED) and not saved.lost
    assert [found.steps.index(PARTS) for found in every_insertion(session, done, [PARTS], 1)] == [
        1,
        1,
    ]


def test_what_does_not_apply_is_no_step() -> None:
    session = decode()
    done = start_of(session)
    assert inserted(session, done, 0, [Group("unstage", None, None)], ()) is None


def test_a_step_goes_to_where_it_leaves_most_open() -> None:
    session = decode()
    search = _AscentSearch(session, 0)
    done = steps(session, NO_FENCES, LARGER, PACKED, PARTS)
    assert PAIRED not in legal_names(session)
    search.take(done, session.evaluate(), (PARTS,))
    assert search.done.steps == (NO_FENCES, LARGER, PARTS, PACKED)
    assert PAIRED in legal_names(session)


def test_what_is_shut_out_for_good_is_seen_as_blocked() -> None:
    session = decode()
    search = _AscentSearch(session, 0)
    search.stand(steps(session, NO_FENCES, PACKED, PARTS), session.evaluate())
    blocked = search.blocked()
    assert PAIRED in {group.name for group in blocked}
    before = session.digest
    for group in blocked:
        assert not search.fits(search.done, group)
    search.stand(steps(decode(), NO_FENCES, PARTS, PACKED), session.evaluate())
    assert session.digest != before and PAIRED in legal_names(session)


def test_it_never_ends_on_a_wrong_kernel() -> None:
    used = AgentSession(TASK, CASE, budget=40, memory=Memory(), distributions=("normal",))
    run_agent(AGENTS["ascent"], used, 5)
    assert used.best is not None and used.best.correct and used.best_speedup > 1.2


def test_hopes_of_untried_names_come_first_and_fall_with_each_failure() -> None:
    hopes = Hopes()
    assert hopes.of(PACKED) == UNTRIED and not hopes.knows(PACKED)
    seen = []
    for _ in range(4):
        hopes.note(PACKED, -math.inf)
        seen.append(hopes.of(PACKED))
    assert hopes.knows(PACKED) and sorted(seen, reverse=True) == seen and 0 < seen[-1] < FIRST
    other = Group("pack_heads", "keep", None)
    assert seen[-1] < hopes.of(other) < FIRST  # less of the argument that failed
    hopes.note(other, 5.0)
    assert hopes.of(other) < MOST
    before = hopes.of(other)
    hopes.fade(1.0)
    assert FIRST < hopes.of(other) < before
    hopes.note_illegal(LARGER)
    assert hopes.of(LARGER) == pytest.approx(FIRST)


@pytest.mark.parametrize("kind", [KernelSession, AgentSession])
def test_fullness_grows_with_blocks_and_tells_what_has_no_room(
    kind: type[KernelSession] | type[Facade],
) -> None:
    session = kind("extend", ["prefill-1024"], memory=MEMORY, budget=20, verify="never")
    last, refused = session.fullness, 0
    assert 0 < last < 1
    for _ in range(6):
        doubled = [
            edit for edit in session.legal_edits("set_tunable") if edit.argument[1] == "double"
        ]
        if not doubled:
            break
        session.apply(doubled[-1])
        assert session.fullness > last
        last, code = session.fullness, session.evaluate().outcome.code
        assert (last <= 1) or code in ("E301", "E302")
        refused += last > 1
    assert refused and session.spent
