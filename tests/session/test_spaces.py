"""What a memory keeps of combinations of task, cases and chip that nobody works on any more."""

from __future__ import annotations

import gc
import weakref

import pytest

from m890sim.chip import get_chip
from m890sim.session import KernelSession, Memory
from m890sim.session.memory import WATCHED
from m890sim.workloads import get_task

TASK = get_task("vector_add")
CASES = TASK.hidden_cases(6, 1)


def session(memory: Memory, number: int) -> KernelSession:
    return KernelSession(TASK, [CASES[number]], "m890-mini", verify="never", memory=memory)


def test_spaces_that_no_session_holds_are_dropped_the_earliest_first() -> None:
    memory = Memory(spaces=2)
    spaces = [weakref.ref(session(memory, number)._space) for number in (0, 1, 0, 2)]
    gc.collect()
    assert [space() is not None for space in spaces] == [True, False, True, True]
    assert spaces[0]() is spaces[2]()


def test_space_that_a_session_holds_stays_the_same() -> None:
    memory = Memory(spaces=1)
    first = session(memory, 0)
    place = first.position()
    for number in range(1, 6):
        session(memory, number).evaluate()
    first.apply(first.legal_edits()[0])
    again = session(memory, 0)
    assert again._space is first._space
    again.go_to(place)
    assert again.evaluate() == session(Memory(), 0).evaluate()


def test_room_of_dropped_spaces_is_free_again() -> None:
    memory = Memory(spaces=1)
    for number in range(6):
        here = session(memory, number)
        for edit in here.legal_edits()[:5]:
            here.clone().apply(edit)
    assert memory._room == here._space.room == sum(map(len, here._space.states.values()))


def test_cases_are_watched_up_to_a_bound_and_results_stay_the_same() -> None:
    memory = Memory()
    first = session(memory, 0)
    first.watch(CASES[0])
    for case in TASK.hidden_cases(WATCHED, 2):
        memory.watch(case)
    assert len(memory._watched) == WATCHED and CASES[0] not in memory._watched
    other = KernelSession(TASK, [CASES[0]], get_chip("m890-mini"), verify="never")
    assert first.evaluate() == other.evaluate()
    assert first.traced(CASES[0]).cycles == other.traced(CASES[0]).cycles


def test_number_of_spaces_is_checked() -> None:
    with pytest.raises(ValueError, match="spaces must be at least 1, not 0"):
        Memory(spaces=0)
    with pytest.raises(TypeError, match="spaces must be an integer, not '2'"):
        Memory(spaces="2")  # type: ignore[arg-type]
