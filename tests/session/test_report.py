"""report: the session as plain data."""

from __future__ import annotations

import json
from collections.abc import Callable

from m890sim.chip import get_chip
from m890sim.judge.evaluation import package_version
from m890sim.kernel import digest
from m890sim.schedule import Edit
from m890sim.session import KernelSession, edit_from_data
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import DISTRIBUTIONS, get_task, load_kernel, lower_bound_cycles
from tests.session.toys import CASE, fences

Make = Callable[..., KernelSession]


def test_report_of_a_new_session(make: Make) -> None:
    session = make()
    found = session.report()
    assert found["task"] == "extend" and found["chip"] == "m890"
    assert found["timing_version"] == TIMING_VERSION
    assert found["verify"] == "best" and found["seed"] == 0
    assert found["distributions"] == list(DISTRIBUTIONS)
    assert found["budget"] is None and found["left"] is None
    assert found["spent"] == found["failed"] == 0
    assert found["best"] is None and found["best_speedup"] == 1.0
    assert found["edits"] == found["log"] == []
    assert found["start"] == found["digest"] == session.digest
    (case,) = found["cases"]
    assert case["case"] == "toy" and case["case_digest"] == CASE.digest
    assert case["lower_bound_cycles"] == lower_bound_cycles(CASE, session.chip)


def test_report_names_what_it_measures_by_digest(make: Make) -> None:
    """A chip with other numbers under the name of a preset had the preset's report."""
    found = make().report()
    other = get_chip("m890").replace(vector_f32_lanes=4096)
    changed = make(chip=other).report()
    assert changed["chip"] == found["chip"] == "m890"
    assert found["chip_digest"] == get_chip("m890").digest != changed["chip_digest"] == other.digest
    task = get_task("extend")
    assert found["task_digest"] == task.digest and found["version"] == package_version()
    assert found["reference"] == {
        "name": "attention_reference",
        "digest": digest(load_kernel("attention_reference")),
    }


def test_report_is_json_and_tells_the_whole_story(make: Make) -> None:
    session = make(budget=10, distributions=["normal"])
    session.evaluate()
    first, second = fences(session.kernel)[:2]
    session.apply(second)
    session.evaluate()
    session.apply(first)
    session.evaluate()
    session.apply(Edit("set_tile", (), 4096))
    session.evaluate()
    session.undo()
    found = session.report()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["budget"], found["spent"], found["left"], found["failed"]) == (10, 4, 6, 1)
    assert found["distributions"] == ["normal"]
    assert [edit_from_data(edit) for edit in found["edits"]] == [second, first]
    assert [entry["index"] for entry in found["log"]] == [0, 1, 2, 3]
    last = found["log"][3]
    assert last["code"] == "E302" and last["speedup"] == 1.0 and last["cycles"] == {"toy": None}
    assert found["best"] == found["log"][2]
    assert found["best_speedup"] == found["best"]["speedup"] > 1.0
    assert found["best"]["correct"] is True
    assert found["digest"] == found["best"]["digest"]
    assert found["start"] == found["log"][0]["digest"] == found["best"]["start"]
