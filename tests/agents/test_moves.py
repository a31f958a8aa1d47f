"""Moves: one edit at several places; and the credit that they get."""

from __future__ import annotations

import pytest

from m890sim.agents.credit import Credit
from m890sim.agents.dice import Dice
from m890sim.agents.moves import ALIKE, ALL, ANY, ONE, REACHES, SOME, Move, perform
from m890sim.schedule import EDITS, Edit
from m890sim.session import KernelSession, Memory

MEMORY = Memory()


def session() -> KernelSession:
    return KernelSession("extend", "prefill-256", memory=MEMORY)


def legal_of(used: KernelSession, name: str) -> list[Edit]:
    return [edit for edit in used.legal_edits() if edit.name == name]


def test_sweep_goes_on_until_nothing_is_left() -> None:
    used = session()
    fences = len(legal_of(used, "remove_fence"))
    assert perform(used, Move("remove_fence", None, ALL, 0)) == fences > 20
    assert legal_of(used, "remove_fence") == []
    assert perform(used, Move("remove_fence", None, ALL, 0)) == 0


def test_one_is_one_edit_and_some_are_about_half() -> None:
    used = session()
    assert perform(used, Move("remove_fence", None, ONE, 1)) == 1
    left = len(legal_of(used, "remove_fence"))
    assert left // 4 < perform(used, Move("remove_fence", None, SOME, 2)) < left * 3 // 4


def test_alike_is_the_same_statement_in_both_loops() -> None:
    used = session()
    found = {perform(used, Move("set_queue", 2, ALIKE, draw)) for draw in range(6)}
    assert 2 in found  # kt or vt of the prefix and of the new tokens


def test_any_gives_each_place_an_argument_of_its_own() -> None:
    used = session()
    made = perform(used, Move("set_queue", 1, ANY, 5))
    assert made == len({edit.site for edit in used.edits}) == 6
    assert len({edit.argument for edit in used.edits}) > 1


def test_moving_up_everything_is_no_sweep() -> None:
    used = session()
    made = perform(used, Move("move_up", None, ALL, 0))
    assert 0 < made < 10 and len(used.edits) == made


def test_setting_of_the_kernel_is_one_step() -> None:
    used = session()
    assert perform(used, Move("set_tunable", ("BQ", "double"), ALL, 0)) == 1
    assert used.kernel.tunables["BQ"] == 128


@pytest.mark.parametrize("reach", REACHES)
def test_move_means_the_same_each_time(reach: str) -> None:
    found = []
    for _ in range(2):
        used = session()
        perform(used, Move("set_slots", 2, reach, 9))
        found.append(used.digest)
    assert found[0] == found[1]


def test_move_that_does_not_apply_does_nothing() -> None:
    used = session()
    assert perform(used, Move("unstage", None, ALL, 0)) == 0
    assert used.edits == ()


def test_credit_begins_equal_and_follows_success() -> None:
    credit = Credit()
    assert len({credit.weight(name) for name in EDITS}) == 1
    fresh = credit.weight("hoist")
    credit.note([Move("remove_fence", None, ALL, 0)], 0.8)
    credit.note([Move("add_fence", None, ALL, 0)], -1.0)
    assert credit.weight("remove_fence") > fresh > credit.weight("add_fence") > 0


def test_credit_that_fades_comes_back_to_hope() -> None:
    credit = Credit()
    fresh = credit.weight("add_fence")
    for _ in range(20):
        credit.note([Move("add_fence", None, ALL, 0)], -1.0)
    low = credit.weight("add_fence")
    for _ in range(40):
        credit.fade(0.7)
    assert low < credit.weight("add_fence") == pytest.approx(fresh, rel=1e-3)


def test_proposals_are_legal() -> None:
    used, dice, credit = session(), Dice(0), Credit()
    for _ in range(25):
        move = credit.propose(used, dice)
        assert move is not None
        assert any(edit.name == move.name for edit in used.legal_edits())
        perform(used, move)
        used.restart()
