"""The files that a student begins with: a kernel, the student's chip, and a task of its case."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from m890sim.chip.files import chip_text
from m890sim.errors import ExerciseError
from m890sim.exercises.bottleneck import bottlenecks
from m890sim.exercises.draw import student_key
from m890sim.exercises.exercise import Exercise
from m890sim.exercises.steps import get_exercise
from m890sim.messages import shown
from m890sim.profile import profile_kernel
from m890sim.workloads import Task

_TASK = '''"""The task of exercise {number} with your case, as commands take it:

    m890 profile {kernel} --task {file}:TASK --chip {chip}
"""

from m890sim.exercises import exercise_task

TASK = exercise_task({number}, {student!r})
'''


def exercise_task(exercise: int | str, student: str | None = None) -> Task:
    """The task of an exercise with a student's case alone, against the kernel to begin with.

    Raises: ExerciseError for an unknown exercise, or a name that is none.
    """
    return get_exercise(exercise).drawn(student).task


def start_files(exercise: Exercise, student: str | None = None) -> dict[str, str]:
    """Name -> text of the files to begin with. Raises: ExerciseError for a name that is none."""
    student_key(student)
    stem = exercise.file.removesuffix(".py")
    chip, task = f"{stem}_chip.toml", f"{stem}_task.py"
    return {
        exercise.file: exercise.start_text,
        chip: chip_text(exercise.drawn(student).chip),
        task: _TASK.format(
            number=exercise.number, kernel=exercise.file, file=task, chip=chip, student=student
        ),
    }


def solution_files(exercises: list[Exercise], student: str | None = None) -> dict[str, str]:
    """Name -> text of the model solutions, and of a table of what they take on a student's chip.

    Raises: ExerciseError for a name that is none.
    """
    files: dict[str, str] = {}
    table = ["exercise,name,chip,start_cycles,model_cycles,goal_cycles,bottleneck"]
    for exercise in exercises:
        own = exercise.drawn(student)
        if exercise.changes:
            files[exercise.file.replace(".py", "_model.py")] = exercise.model_text
        path = bottlenecks(profile_kernel(exercise.model, own.case, own.chip))
        cells = (exercise.number, exercise.name, own.chip.name, own.start_cycles, own.model_cycles)
        goal = own.goal_cycles if exercise.changes else ""
        table.append(",".join(map(str, (*cells, goal, next(iter(path))))))
    return files | {"results.csv": "\n".join(table) + "\n"}


def write_start(exercise: Exercise, folder: Path, student: str | None = None) -> list[Path]:
    """Write the files that an exercise begins with. Raises: as `write_new`, `start_files`."""
    files = start_files(exercise, student)
    return write_new({folder / name: text for name, text in files.items()})


def write_new(files: Mapping[Path, str]) -> list[Path]:
    """Write texts, folders that are missing too; nothing is overwritten, all or none is written.

    Raises: ExerciseError where one of the files is there already; OSError.
    """
    for path in files:
        if path.exists() or path.is_symlink():
            raise ExerciseError(
                f"{shown(str(path), 200)} is there already and is left as it is; give another "
                "folder with --out"
            )
    written: list[Path] = []
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", encoding="utf-8", newline="\n") as stream:
                written.append(path)
                stream.write(text)
    except OSError:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise
    return written
