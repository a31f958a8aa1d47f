"""What students get: goals that each of them can reach, and answers of their own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.chip import get_chip
from m890sim.exercises import EXERCISES, Exercise, canonical_digest, student_chip
from m890sim.exercises.draw import DRAWN_FIELDS
from m890sim.exercises.grading import grade_here
from m890sim.workloads import load_kernel

STUDENTS = [f"student {number}" for number in range(16)]
CHANGING = [exercise for exercise in EXERCISES.values() if exercise.changes]


def number_of(exercise: Exercise) -> str:
    return exercise.file


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=number_of)
def test_every_student_can_reach_the_goal_and_has_an_answer_of_their_own(
    exercise: Exercise,
) -> None:
    drawn = [exercise.drawn(student) for student in STUDENTS]
    if exercise.changes:
        assert all(one.model_cycles <= one.goal_cycles for one in drawn)
        assert all(one.goal_cycles * 1.3 < one.start_cycles for one in drawn)
    assert len({one.start_cycles for one in drawn}) >= 0.9 * len(drawn)
    assert len({one.chip.digest for one in drawn}) == len(drawn)


@pytest.mark.parametrize("exercise", CHANGING[:-1], ids=number_of)  # the last is a built-in kernel
def test_model_solutions_are_right_and_reach_the_goal(exercise: Exercise) -> None:
    found = grade_here(exercise, exercise.model_text, "ada")
    assert found.reached and found.changed and not found.hints, found.message


def test_the_last_exercise_begins_with_the_reference() -> None:
    last = EXERCISES[10]
    assert canonical_digest(last.start) == canonical_digest(load_kernel("attention_reference"))
    assert last.drawn().case.symbols["T"] == 1024
    assert last.drawn().goal_cycles == last.drawn().start_cycles // 8


@settings(max_examples=40)
@given(st.text(st.characters(categories=("L", "Nd")), min_size=1, max_size=8))
def test_a_chip_is_drawn_from_the_listed_values(name: str) -> None:
    for preset, fields in DRAWN_FIELDS.items():
        chip, base = student_chip(preset, name), get_chip(preset)
        assert all(getattr(chip, field) in values for field, values in fields.items())
        same = {field: getattr(base, field) for field in fields}
        assert chip.replace(name=preset, **same) == base


@pytest.mark.parametrize(
    "name", ["Zo\u00eb", "\u0939\u093f\u0928\u094d\u0926\u0940", "o.k_1@uni-x", "7"]
)
def test_names_of_any_script_are_taken(name: str) -> None:
    assert student_chip("m890", name).name.startswith("m890-")


def test_preset_values_are_among_the_drawn_ones() -> None:
    for preset, fields in DRAWN_FIELDS.items():
        for field, values in fields.items():
            assert getattr(get_chip(preset), field) in values, (preset, field)
            assert len(set(values)) == len(values) > 2
