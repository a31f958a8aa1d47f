"""EXERCISES: the ten steps. docs/exercises/README.md is their page."""

from __future__ import annotations

from collections.abc import Mapping

from m890sim.errors import ExerciseError
from m890sim.exercises.exercise import Exercise
from m890sim.messages import described
from m890sim.workloads import Case
from m890sim.workloads.levels.vector_add import VectorAddCase


def _add(name: str, shape: Mapping[str, int]) -> Case:
    return VectorAddCase(name, "vector_add", shape["R"], shape["C"], "of an exercise")


_STEPS = (
    Exercise(
        number=1,
        name="by_hand",
        title="Predict the cycles of one block by hand",
        text="Add up the cycles of the five instructions on m890-mini, write them down, then look.",
        task="vector_add",
        chip="m890-mini",
        shapes={"R": (16, 8, 12, 20, 24, 32), "C": (64, 48, 80, 96, 128)},
        case=_add,
        asks=("cycles", "bottleneck"),
        changes=False,
        advice="Launch and core start; then per transfer the issue and the bytes; the latency and "
        "completion until its result is known; one dependence where another engine goes on.",
    ),
    Exercise(
        number=2,
        name="fences",
        title="Take the fences away",
        text="Let each instruction wait for its operands alone.",
        task="vector_add",
        chip="m890",
        shapes={"R": (768, 640, 896, 1024, 1152), "C": (256, 192, 320, 384)},
        case=_add,
        advice="An instruction waits for its operands without being told; a fence waits for "
        "everything.",
    ),
    Exercise(
        number=3,
        name="queues",
        title="Use the queues, and let blocks overlap",
        text="Transfers of one block side by side, and the next block under way during this one.",
        task="vector_add",
        chip="m890",
        shapes={"R": (896, 768, 1024, 1152, 1280), "C": (256, 192, 320, 384)},
        case=_add,
        advice="`queue=` of load and store picks one of four queues; `slots=` of a tile lets the "
        "next pass of a loop or work item begin while the last one still uses its copy.",
    ),
)
EXERCISES: dict[int, Exercise] = {exercise.number: exercise for exercise in _STEPS}


def get_exercise(name: int | str) -> Exercise:
    """The exercise of a number, or of a name such as `3`, `queues` or `ex03_queues.py`.

    Raises: ExerciseError for an unknown one.
    """
    if type(name) is int and name in EXERCISES:
        return EXERCISES[name]
    if isinstance(name, str):
        for exercise in EXERCISES.values():
            known = (str(exercise.number), exercise.name, exercise.file, exercise.file[:-3])
            if name in known or name == f"{exercise.number:02}":
                return exercise
    raise ExerciseError(
        f"no exercise {described(name)}; they are 1 to {len(EXERCISES)}: "
        f"{', '.join(e.name for e in EXERCISES.values())}"
    )
