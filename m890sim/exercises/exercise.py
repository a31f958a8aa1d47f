"""Exercise: one step of the course, and what it is for a student."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import resources

from m890sim.chip import ChipSpec
from m890sim.exercises.draw import drawn_shape, student_chip
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case, Task, get_kernel, get_task, simulate

FOLDER = "kernels"
MODEL = "_model"


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One step: a kernel to begin with, a case and a chip of the student's, and a goal.

    asks: what is to be predicted before it is measured, of `Prediction`'s fields. shapes: extent ->
    what a student may get, the first of each where there is no student. case: those to the case.
    slack: how many per cent of cycles the goal lies above the model solution. speedup: the goal is
    no harder than this against the start; 0: no such bound. advice: what helps once nothing more
    exact is known.
    """

    number: int
    name: str  # as in the files' names
    title: str
    text: str  # what to do
    task: str
    chip: str  # a preset of draw.DRAWN_FIELDS
    shapes: Mapping[str, tuple[int, ...]]
    case: Callable[[str, Mapping[str, int]], Case]
    advice: str
    asks: tuple[str, ...] = ("speedup", "bottleneck")
    slack: int = 5
    speedup: int = 0
    built_in: str = ""  # a built-in kernel that is the model solution
    changes: bool = True  # False: the kernel stays as it is, and only predictions count

    @property
    def file(self) -> str:
        """The name of the file that a student hands in: `ex03_queues.py`."""
        return f"ex{self.number:02}_{self.name}.py"

    @property
    def start_text(self) -> str:
        """The kernel file to begin with."""
        return _text(self.file)

    @property
    def model_text(self) -> str:
        """A solution; the start's text where nothing is to be changed."""
        if self.built_in:
            return get_kernel(self.built_in).text
        return _text(self.file.replace(".py", MODEL + ".py")) if self.changes else self.start_text

    @cached_property
    def start(self) -> Kernel:
        """The kernel to begin with."""
        return _parsed(self.start_text, self.file)

    @cached_property
    def model(self) -> Kernel:
        """A solution."""
        return _parsed(self.model_text, self.file.replace(".py", MODEL + ".py"))

    def drawn(self, student: str | None = None) -> Assignment:
        """What a student gets. Raises: ExerciseError for a name that is none."""
        shape = drawn_shape(self.number, self.shapes, student)
        return Assignment(
            self, student_chip(self.chip, student), self.case(f"exercise-{self.number}", shape)
        )


@dataclass(frozen=True)
class Assignment:
    """An exercise on the chip and the case of one student."""

    exercise: Exercise
    chip: ChipSpec
    case: Case

    @property
    def task(self) -> Task:
        """The exercise as a task: this case alone, against the kernel to begin with."""
        exercise = self.exercise
        return replace(
            get_task(exercise.task),
            name=f"exercise_{exercise.number}",
            text=exercise.title,
            cases=(self.case,),
            hidden=None,
            reference_name=exercise.start.name,
            reference_text=exercise.start_text,
            expert_name="",
        )

    @cached_property
    def start_cycles(self) -> int:
        """Of the kernel to begin with."""
        return self.cycles_of(self.exercise.start)

    @cached_property
    def model_cycles(self) -> int:
        """Of the model solution."""
        return self.cycles_of(self.exercise.model)

    @property
    def goal_cycles(self) -> int:
        """The most cycles that reach the goal: measured here, so that everybody can reach it."""
        goal = self.model_cycles * (100 + self.exercise.slack) // 100
        if self.exercise.speedup:
            goal = max(goal, self.start_cycles // self.exercise.speedup)
        return goal

    def cycles_of(self, kernel: Kernel) -> int:
        """Raises: as `simulate`."""
        return simulate(kernel, self.case, self.chip).cycles


@cache
def _text(file: str) -> str:
    return (resources.files("m890sim.exercises") / FOLDER / file).read_text("utf-8")


def kernel_of(file: str) -> Kernel:
    """The kernel of a file of the package."""
    return _parsed(_text(file), file)


def _parsed(text: str, file: str) -> Kernel:
    from m890sim.language import parse

    return parse(text, filename=file)
