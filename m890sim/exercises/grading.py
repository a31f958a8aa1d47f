"""Grades: a hand-in's prediction, its rows, its cycles against the goal, and what to do next.

The kernel is a stranger's. It is read and judged in a process of its own, with the judge's limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from m890sim.errors import ExerciseError
from m890sim.exercises.bottleneck import bottlenecks, shares_of
from m890sim.exercises.copies import canonical_digest
from m890sim.exercises.draw import student_key
from m890sim.exercises.exercise import Assignment, Exercise
from m890sim.exercises.hints import hints
from m890sim.exercises.predictions import Prediction, closeness, named_well, read_prediction
from m890sim.exercises.steps import get_exercise
from m890sim.kernel.ir import Kernel
from m890sim.messages import described

SECONDS, MEMORY_MB = 120.0, 2048

# Per cent of the marks for cycles. The goal: all of them; within 20% of it, and half of the way or
# more: 95; then by the way from the start to the goal, on a log scale: (the least; marks).
GOAL, CLOSE, CLOSE_CYCLES = 100, 95, 1.2
WAYS = ((0.75, 80), (0.5, 60), (0.25, 40))
MOST_INSTRUCTIONS = 1_000_000  # of a run that is profiled
RIGHT = 20  # right, and not so far
WEIGHTS = {  # marks of 100, by what the exercise asks
    True: {"goal": 80, "speedup": 10, "bottleneck": 10},
    False: {"cycles": 80, "bottleneck": 20},
}


@dataclass(frozen=True, slots=True)
class Grade:
    """What a hand-in earned. marks: part -> marks, of `most`; points: their sum, of 100.

    goal_cycles and true: None where the kernel is wrong. true: what was predicted, as measured.
    digest: the same for copies with other names. known: the built-in kernel or model solution that
    it is, but for names.
    """

    exercise: int
    student: str
    chip: str
    correct: bool
    points: float
    marks: dict[str, float]
    most: dict[str, int]
    cycles: int | None
    start_cycles: int
    goal_cycles: int | None
    predicted: dict[str, Any]
    true: dict[str, Any] | None
    path: dict[str, int]  # bottleneck -> cycles of the critical path
    message: str  # why the kernel is wrong; "" where it is right
    hints: list[str] = field(default_factory=list)
    digest: str = ""
    changed: bool = True  # another kernel than the one to begin with
    known: str = ""

    @property
    def reached(self) -> bool:
        """Whether the goal is reached; where the kernel stays as it is, the cycles predicted."""
        part, share = ("goal", 1.0) if "goal" in self.most else ("cycles", 0.95)
        return self.correct and self.marks[part] >= share * self.most[part]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"reached": self.reached}


def grade(
    exercise: int | str,
    text: str,
    student: str | None = None,
    *,
    unpredicted: bool = False,
    seconds: float = SECONDS,
    filename: str = "<kernel>",
) -> Grade:
    """Grade the text of a kernel file, in a process of its own.

    student: whose chip and shapes; None: those of the presets. unpredicted: measure also what was
    not predicted, which earns no marks for it. seconds: of wall-clock time, and of processor time.
    Raises: ExerciseError for an unknown exercise, a name that is none, a missing prediction, a
    kernel that is refused, or no verdict within the limits; TypeError, ValueError.
    """
    from m890sim.judge.isolation import ANSWERED, run_isolated

    found = get_exercise(exercise)
    student_key(student)
    if not isinstance(text, str):
        raise TypeError(f"text must be the text of a kernel file, not {described(text)}")
    read_prediction(text) if unpredicted else check_predicted(found, text)
    data = {
        "exercise": found.number,
        "text": text,
        "student": student,
        "filename": filename,
    }
    answer = run_isolated(
        "grade", data, seconds=seconds, memory_mb=MEMORY_MB, module="m890sim.exercises.grading"
    )
    if answer.ended != ANSWERED or answer.answer is None:
        raise ExerciseError(answer.reason)
    return Grade(**answer.answer)


def check_predicted(exercise: Exercise, text: str) -> Prediction:
    """The prediction of a file. Raises: ExerciseError where something asked for is not said."""
    prediction = read_prediction(text)
    missing = prediction.missing(exercise.asks)
    if missing:
        wanted = " ".join(f"{name}=..." for name in missing)
        raise ExerciseError(
            f"predict first, before anything is measured: exercise {exercise.number} asks for "
            f"{' and '.join(missing)}; write `# predict: {wanted}` into the file, as comment"
        )
    return prediction


def grade_here(
    exercise: Exercise, text: str, student: str | None = None, filename: str = "<kernel>"
) -> Grade:
    """`grade` in this process, predicted or not. Raises: M890Error for a refused kernel."""
    from m890sim.judge import evaluate
    from m890sim.language import parse

    prediction = read_prediction(text)
    draw = exercise.drawn(student)
    kernel = parse(text, filename=filename)
    digest = canonical_digest(kernel)
    changed = digest != canonical_digest(exercise.start)
    common: dict[str, Any] = {
        "exercise": exercise.number,
        "student": student or "",
        "chip": draw.chip.name,
        "most": WEIGHTS[exercise.changes],
        "start_cycles": draw.start_cycles,
        "predicted": {name: getattr(prediction, name) for name in exercise.asks},
        "digest": digest,
        "changed": changed,
        "known": known_as(exercise, digest) if changed else "",
    }
    if changed and not exercise.changes:
        message = "the kernel of this exercise stays as it is: only the prediction counts"
        return _wrong(common, message, ["Begin again with `m890 exercises start`."])
    result = evaluate(kernel, draw.task, draw.chip).cases[0]
    if not result.correct or result.cycles is None:
        return _wrong(common, result.message, _mend(result.code, exercise))
    if (result.instructions or 0) > MOST_INSTRUCTIONS:
        message = (
            f"right, but with {result.instructions:,} instructions: at most {MOST_INSTRUCTIONS:,} "
            "are graded; larger blocks need fewer"
        )
        return _wrong(common, message, [exercise.advice])
    return _right(common, kernel, text, draw, prediction)


def known_as(exercise: Exercise, digest: str) -> str:
    """The built-in kernel of the task, or the model solution, with a digest; "" for neither."""
    from m890sim.workloads import KERNELS, load_kernel

    if digest == canonical_digest(exercise.model):
        return exercise.model.name
    for name, entry in KERNELS.items():
        if entry.task == exercise.task and digest == canonical_digest(load_kernel(name)):
            return name
    return ""


def _wrong(common: Mapping[str, Any], message: str, found: list[str]) -> Grade:
    marks = dict.fromkeys(common["most"], 0.0)
    return Grade(
        **common, correct=False, points=0.0, marks=marks, cycles=None, goal_cycles=None, true=None,
        path={}, message=message, hints=found,
    )  # fmt: skip


def _right(
    common: Mapping[str, Any], kernel: Kernel, text: str, draw: Assignment, prediction: Prediction
) -> Grade:
    from m890sim.profile import profile_kernel

    exercise = draw.exercise
    profile = profile_kernel(kernel, draw.case, draw.chip, source=text)
    path = bottlenecks(profile)
    true: dict[str, Any] = {
        "cycles": profile.cycles,
        "speedup": draw.start_cycles / profile.cycles,
        "bottleneck": next(iter(path), ""),
    }
    shares: dict[str, float] = {}
    for name in exercise.asks:
        said = getattr(prediction, name)
        if said is None:
            shares[name] = 0.0
        elif name == "bottleneck":
            shares[name] = named_well(said, path)
        elif name == "speedup" and not common["changed"]:
            shares[name] = 0.0  # nothing was changed, and so nothing expected of it
        else:
            shares[name] = closeness(said, true[name])
    if exercise.changes:
        earned = tier(profile.cycles, draw.goal_cycles, draw.start_cycles)
        shares["goal"] = earned / 100 if common["changed"] else 0.0
    most = common["most"]
    marks = {name: round(most[name] * shares[name], 1) for name in most}
    found: list[str] = []
    if exercise.changes and profile.cycles > draw.goal_cycles:
        found = hints(profile, exercise.advice)
    if exercise.changes and not common["changed"]:
        found.insert(0, "This is still the kernel that you began with, which earns nothing.")
    found += _mistaken(prediction, shares, path)
    return Grade(
        **common,
        correct=True,
        points=round(sum(marks.values()), 1),
        marks=marks,
        cycles=profile.cycles,
        goal_cycles=draw.goal_cycles if exercise.changes else None,
        true={name: true[name] for name in exercise.asks},
        path=path,
        message="",
        hints=found,
    )


def tier(cycles: int, goal: int, start: int) -> int:
    """Per cent of the marks for a right kernel's cycles; the tiers are those above."""
    if cycles <= goal:
        return GOAL
    way = math.log(start / cycles) / math.log(start / goal) if start > goal else 0.0
    if cycles <= CLOSE_CYCLES * goal and way >= 0.5:
        return CLOSE
    return next((marks for least, marks in WAYS if way >= least), RIGHT)


def _mend(code: str, exercise: Exercise) -> list[str]:
    """What to do about a wrong kernel, by the code of its error."""
    if code in ("E301", "E302"):
        return [
            "The tiles of a phase lie in memory side by side, each as often as it has slots: fewer "
            "slots= or smaller blocks make room. `m890 profile` shows the memory of one that fits."
        ]
    if code == "E303":
        return ["The chip's file says `dma_queues`; they count from 0."]
    if code.startswith("E4"):
        return [
            "The run stopped at the place that is named. Follow the indices there by hand for the "
            "last block, which may have fewer rows than the others."
        ]
    return [
        "Compare with the kernel that you began with, which is right: what is computed from what, "
        "which rows the last block has, and whether every element is stored once."
    ]


def _mistaken(
    prediction: Prediction, shares: Mapping[str, float], path: Mapping[str, int]
) -> list[str]:
    found = []
    parts = ", ".join(f"{word} {share:.0%}" for word, share in list(shares_of(path).items())[:4])
    if prediction.bottleneck is not None and shares.get("bottleneck", 1.0) < 1:
        found.append(
            f"You expected `{prediction.bottleneck}` to take most; after the launch the critical "
            f"path is {parts}."
        )
    if shares.get("cycles", 1.0) < 1 and prediction.cycles is not None:
        found.append(
            "Your cycles are off: compare your sum with the critical path of `m890 profile`, part "
            f"by part ({', '.join(f'{word} {n:,}' for word, n in path.items())}, and the launch)."
        )
    return found


def _grade_data(data: Mapping[str, Any]) -> dict[str, Any]:
    found = grade_here(
        get_exercise(data["exercise"]), data["text"], data["student"], data["filename"]
    )
    return asdict(found)


FUNCTIONS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"grade": _grade_data}
