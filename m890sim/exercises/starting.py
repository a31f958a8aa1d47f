"""The files that a student begins with: a kernel, the student's chip, and a task of its case."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from m890sim.chip.files import chip_text
from m890sim.errors import ExerciseError
from m890sim.exercises.draw import student_key
from m890sim.exercises.exercise import Exercise
from m890sim.exercises.steps import get_exercise
from m890sim.messages import shown
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


def write_start(exercise: Exercise, folder: Path, student: str | None = None) -> list[Path]:
    """Write them into a folder, which is made where it is missing; nothing is overwritten.

    Raises: ExerciseError where one of the files is there already; OSError.
    """
    files = {folder / name: text for name, text in start_files(exercise, student).items()}
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        if path.exists() or path.is_symlink():
            raise ExerciseError(
                f"{shown(str(path), 200)} is there already and is left as it is; give another "
                "folder with --out"
            )
    written: list[Path] = []
    try:
        for path, text in files.items():
            with open(path, "x", encoding="utf-8", newline="\n") as stream:
                written.append(path)
                stream.write(text)
    except OSError:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise
    return written
