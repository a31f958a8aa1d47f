"""The numbering of actions: append-only, complete, and inverse to itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from m890sim.schedule import EDITS, Context, Edit, EditError, candidates, legal_edits
from m890sim.schedule.actions import ROWS, STOP, Actions, numbers_of, with_declared
from m890sim.schedule.core.tree import sites
from m890sim.workloads import KERNELS, load_kernel

GOLDEN = Path(__file__).parent / "golden" / "actions.txt"
MINI = Context(queues=2, banks=8)


def test_rows_are_appended_only(golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN, "".join(f"{n} {name} {argument}\n" for n, (name, argument) in enumerate(ROWS)))


def test_every_edit_has_a_row() -> None:
    assert {name for name, _ in ROWS} == set(EDITS)
    assert len(set(ROWS)) == len(ROWS)


@pytest.mark.parametrize("context", [Context(), MINI], ids=["m890", "m890-mini"])
def test_every_candidate_of_the_kernels_has_an_id(context: Context) -> None:
    for name in KERNELS:
        kernel = load_kernel(name)
        actions = Actions(1 + sum(1 for _ in sites(kernel)), context)
        found = list(candidates(kernel, context))
        numbers = actions.by_id(kernel, found)
        assert len(numbers) == len(found) == len(set(found))
        for number, edit in list(numbers.items())[::7]:
            assert actions.edit_of(kernel, number) == edit
            assert actions.id_of(kernel, edit) == number


def test_place_is_the_position_in_the_text() -> None:
    kernel = load_kernel("attention_reference")
    actions = Actions(128)
    for place, (site, _) in enumerate(sites(kernel), 1):
        for edit in legal_edits(kernel):
            if edit.site == site and edit.name != "set_tunable":
                number = actions.id_of(kernel, edit)
                assert number is not None and (number - 1) % 128 == place
        if place > 20:
            break


def test_mask_is_stop_and_the_legal_edits() -> None:
    kernel = load_kernel("attention_reference")
    actions = Actions(128)
    legal = legal_edits(kernel)
    mask = actions.mask(kernel, legal)
    assert mask.shape == (actions.n,) and mask.dtype == "int8"
    assert mask[STOP] == 1 and mask.sum() == 1 + len(legal)
    assert actions.edit_of(kernel, STOP) is None


def test_statements_beyond_the_sites_have_no_id() -> None:
    kernel = load_kernel("attention_reference")
    actions = Actions(10)
    far = [edit for edit in legal_edits(kernel) if edit.name == "remove_fence"]
    assert [actions.id_of(kernel, edit) for edit in far] == [None] * len(far)
    assert actions.mask(kernel, far).sum() == 1


def test_banks_are_parts_of_the_chips_own() -> None:
    kernel = load_kernel("attention_reference")
    site = next(site for site, stmt in sites(kernel) if getattr(stmt, "space", "") == "sram")
    big, small = Actions(128), Actions(128, MINI)
    number = big.id_of(kernel, Edit("set_bank", site, 15))
    assert number is not None
    assert small.edit_of(kernel, number) == Edit("set_bank", site, 7)
    assert big.id_of(kernel, Edit("set_bank", site, 5)) is None


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (1 + 3 * 128 + 120, "the kernel has fewer than 120 statements"),
        (1 + 5, "set_tunable: the kernel has 2 tunables, not 6"),
        (1 + 3 * 128 + 1, "set_slots with 1 has nothing to do here"),
    ],
)
def test_action_without_an_edit_says_why(action: int, message: str) -> None:
    with pytest.raises(EditError, match=message):
        Actions(128).edit_of(load_kernel("attention_reference"), action)


def test_number_outside_is_refused() -> None:
    kernel = load_kernel("attention_reference")
    for action in (-1, Actions(4).n):
        with pytest.raises(ValueError, match=r"an action must lie in 0 \.\.\."):
            Actions(4).edit_of(kernel, action)
    with pytest.raises(ValueError, match="sites must be 1 ... 65536, not 0"):
        Actions(0)


def test_an_edit_without_a_row_and_a_row_given_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="no action makes the edit cse; give it `actions`"):
        numbers_of(tuple(row for row in ROWS if row[0] != "cse"))
    with pytest.raises(ValueError, match=r"rows 0 and \d+ are both \('set_tunable', 'double'\)"):
        numbers_of((*ROWS, ROWS[0]))


def test_rows_that_edits_declare_stand_behind_the_others_by_number() -> None:
    spec = next(iter(EDITS.values()))
    one, two = (
        dataclasses.replace(spec, name=name, actions=rows)
        for name, rows in (("one", {4: "b", 2: None}), ("two", {3: 7}))
    )
    first = (("zero", 0), ("zero", 1))
    declared = (("one", None), ("two", 7), ("one", "b"))
    assert with_declared(first, [one, two]) == with_declared(first, [two, one])
    assert with_declared(first, [one, two]) == (*first, *declared)
    for wrong in ([one], [one, two, dataclasses.replace(two, name="three")]):
        with pytest.raises(ValueError, match="is to be row . of the actions; the next one is"):
            with_declared(first, wrong)
