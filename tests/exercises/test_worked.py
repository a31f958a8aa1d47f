"""The run that docs/exercises/by_hand.md adds up: every number is the engine's."""

from __future__ import annotations

from m890sim import simulate
from m890sim.exercises import student_chip
from m890sim.exercises.exercise import kernel_of
from m890sim.exercises.worked import worked_case, worked_steps
from tests.layers import ROOT


def test_every_number_of_the_worked_run_is_the_engines() -> None:
    for chip in (
        student_chip("m890-mini"),
        *(student_chip("m890-mini", f"s{n}") for n in range(9)),
    ):
        timing = simulate(kernel_of("worked.py"), worked_case(), chip, trace=True)
        steps = worked_steps(chip)
        expected = [[s.dispatch, s.start, s.finish, s.ready] for s in steps]
        assert timing.trace is not None
        assert timing.trace[:, 3:].tolist() == expected
        assert timing.cycles == max(step.ready for step in steps)


def test_prose_says_what_the_table_says() -> None:
    first, second, total, last = worked_steps()
    work = [step.finish - step.start for step in (second, total, last)]
    prose = (ROOT / "docs" / "exercises" / "by_hand.md").read_text("utf-8")
    assert f"of the {last.ready} cycles only {work[0]} + {work[1]} + {work[2]} are work" in prose
    assert f"would not take {last.ready} cycles more" in prose and first.ready < second.ready
