"""Records of runs on drawn chips and on chips of files hold without the file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from m890sim.agents.files import MANIFEST, create
from m890sim.agents.optimize import optimize
from m890sim.agents.plan import Plan
from m890sim.agents.reading import RunError
from m890sim.chip import ChipSpec, get_chip
from m890sim.chip.files import parse_chip
from m890sim.cli.optimize import file_name
from m890sim.evidence import submit, verify
from m890sim.workloads import get_task
from tests.agents.toys import CASE, TASK

OWN = parse_chip('inherit = "m890-lean"\ndma_queues = 3\nname = "of/my own"', "own")


def run_on(chip: ChipSpec, path: Path) -> Path:
    """A finished run of a few evaluations."""
    task = get_task(TASK)
    cases, start = (task.case(CASE),), task.reference_on(chip)
    create(path, Plan(task, cases, chip, "evolution", 0, 6, start, 2).manifest())
    optimize(path)
    return path


@pytest.mark.parametrize("chip", [get_chip("cramped:test:0"), OWN], ids=lambda chip: chip.name)
def test_run_on_a_chip_that_is_no_preset_holds(chip: ChipSpec, tmp_path: Path) -> None:
    run = run_on(chip, tmp_path / "run")
    assert verify(run).verified
    submit(run, tmp_path / "run.json")
    assert verify(tmp_path / "run.json").verified
    manifest = json.loads((run / MANIFEST).read_text())
    assert manifest["chip"]["digest"] == chip.digest
    assert ChipSpec(**manifest["chip"]["numbers"]) == chip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "small:test:0"}, "the chip is called 'small:test:0' and has other numbers than"),
        ({"name": "small:tests:0"}, "family small has no split 'tests'"),
        ({"name": "/etc/passwd.toml"}, "chip.numbers.name|chip.name|is damaged|says what does not"),
        ({"launch_cycles": 1}, "the chip is called 'cramped:test:0' and has other numbers"),
    ],
)
def test_changed_chip_is_found(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    chip = get_chip("cramped:test:0")
    task = get_task(TASK)
    cases, start = (task.case(CASE),), task.reference_on(chip)
    record = copy.deepcopy(Plan(task, cases, chip, "evolution", 0, 6, start, 2).manifest())
    record["chip"]["numbers"] |= change
    create(tmp_path / "run", record)
    if "name" in change and change["name"].startswith("/"):
        # A name alone changes no number, and a record's name is never looked up as a file.
        optimize(tmp_path / "run")
        assert verify(tmp_path / "run").verified
        return
    with pytest.raises(RunError, match=message):
        optimize(tmp_path / "run")


def test_name_of_a_run_directory_fits_every_system() -> None:
    assert file_name("small:test:3") == "small-test-3"
    assert file_name('a/b\\c "d"') == "a-b-c-d"
    assert file_name("..") == file_name("/") == "chip"
