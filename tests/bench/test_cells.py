"""Cells: drawn by number, the same on every machine, of their split alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from m890sim.bench.cells import FIRST_CHIP, SPLITS, cell_of, cells_of
from m890sim.errors import M890Error
from m890sim.session.suite import split_of_case
from m890sim.workloads import simulate

GOLDEN = Path(__file__).parent / "golden" / "cells.txt"


def test_cells_are_the_same_everywhere(golden: Callable[[Path, str], None]) -> None:
    cells = cells_of(("test", "extrapolation"), ("vector_add", "extend"), 9)
    lines = [
        f"{cell.split} {cell.task_name} {cell.chip_name} {cell.chip.digest[:12]} "
        + " ".join(f"{case.name}:{case.work}" for case in cell.cases)
        for cell in cells
    ]
    golden(GOLDEN, "\n".join(lines) + "\n")


@pytest.mark.parametrize("split", SPLITS)
def test_cells_are_of_their_split(split: str) -> None:
    families, drawn_of = SPLITS[split]
    cells = cells_of((split,), ("matmul",), 2 * len(families), 1)
    assert [cell.family for cell in cells] == [*families, *families]
    assert len({cell.chip.digest for cell in cells}) == len(cells)
    for cell in cells:
        family, of, number = cell.chip_name.split(":")
        assert (family, of) == (cell.family, drawn_of) and int(number) >= FIRST_CHIP
        assert [split_of_case(case) for case in cell.cases] == [drawn_of]
        assert all(2**15 <= case.work <= 2**20 for case in cell.cases)
        simulate(cell.task.reference_on(cell.chip), cell.cases[0], cell.chip)  # it fits


def test_names_give_a_cell_again() -> None:
    (cell,) = cells_of(("validation",), ("decode",), 1)
    again = cell_of(cell.task_name, cell.chip_name, [case.name for case in cell.cases])
    assert again == (cell.task, cell.chip, cell.cases)


def test_no_share_of_the_chips_is_in_two_splits() -> None:
    digests = [
        {cell.chip.digest for cell in cells_of((split,), ("vector_add",), 12, 1)}
        for split in SPLITS
    ]
    assert len(set.union(*digests)) == sum(map(len, digests))


def test_what_cannot_be_drawn_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m890sim.bench.cells.PASSED", 1)
    with pytest.raises(
        M890Error, match="no cell on 1 chips of balanced in a row; the last one: 100 draw"
    ):
        cells_of(("test",), ("vector_add",), 1, 2, 1, 1)
    with pytest.raises(ValueError, match="cases must lie in 1"):
        cells_of(("test",), ("vector_add",), 1, 0)
