"""Macro actions in a session: one evaluation, edits that replay one by one, undo edit by edit."""

from __future__ import annotations

import copy
import pickle

import pytest

from m890sim.schedule import EditError
from m890sim.schedule.macros import EVERYWHERE, MACROS, Macro
from m890sim.session import KernelSession, Memory

FENCES = 1 + MACROS.index(Macro("remove_fence", None, EVERYWHERE))
SLOTS = 1 + MACROS.index(Macro("set_slots", 2, EVERYWHERE))
MEMORY = Memory()


def session(**settings: object) -> KernelSession:
    return KernelSession("vector_add", "add-256x512", verify="never", memory=MEMORY, **settings)  # type: ignore[arg-type]


def test_macro_is_many_edits_and_one_evaluation() -> None:
    one, other = session(), session()
    made = one.perform(FENCES)
    assert len(made) > 3 and one.edits == made
    entry = one.evaluate()
    assert one.spent == 1 and entry.edits == made and entry.speedup > 1
    for edit in made:
        other.apply(edit)
    assert other.digest == one.digest and other.evaluate().outcome == entry.outcome


def test_undo_takes_back_one_edit_of_a_macro() -> None:
    one, other = session(), session()
    made = (*one.perform(FENCES), *one.perform(SLOTS))
    for edit in made:
        other.apply(edit)
    for edit in reversed(made):
        assert one.undo() == other.undo() == edit
        assert one.digest == other.digest and one.kernel == other.kernel
    with pytest.raises(ValueError, match="nothing to undo"):
        one.undo()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copy_in_the_middle_of_a_macro(copied: object) -> None:
    one = session(budget=9)
    one.perform(FENCES)
    one.evaluate()
    one.perform(SLOTS)
    one.undo()
    other = copied(one)  # type: ignore[operator]
    assert other.digest == one.digest and other.edits == one.edits
    assert [other.undo() for _ in other.edits] == [one.undo() for _ in one.edits]
    assert other.digest == one.digest and other.report() == one.report()


def test_position_before_and_after_a_macro() -> None:
    one = session()
    start = one.position()
    one.perform(FENCES)
    place = one.position()
    one.perform(SLOTS)
    one.go_to(place)
    assert len(one.edits) == len(place.edits) and one.kernel == place.kernel
    one.go_to(start)
    assert not one.edits


def test_macro_that_is_legal_nowhere_changes_nothing() -> None:
    one = session()
    one.perform(FENCES)
    before = one.digest, one.edits
    with pytest.raises(EditError, match="remove_fence, everywhere: the kernel has no such place"):
        one.perform(FENCES)
    assert (one.digest, one.edits) == before
    for action in (0, -1, 10**6):
        with pytest.raises(ValueError):
            one.perform(action)
    with pytest.raises(TypeError, match="an action must be an integer"):
        one.perform("1")  # type: ignore[arg-type]


def test_memory_that_is_emptied_changes_nothing() -> None:
    one, other = (
        session(),
        KernelSession("vector_add", "add-256x512", verify="never", memory=Memory(states=1)),
    )
    for action in (SLOTS, FENCES):
        assert one.perform(action) == other.perform(action)
        assert one.evaluate().outcome == other.evaluate().outcome
    assert one.undo() == other.undo() and one.digest == other.digest
