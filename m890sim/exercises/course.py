"""A course's hand-ins: found in a folder, graded one by one, and told apart from copies."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.errors import ExerciseError, M890Error
from m890sim.exercises.draw import student_key
from m890sim.exercises.exercise import Exercise
from m890sim.exercises.grading import SECONDS, Grade, grade
from m890sim.exercises.steps import EXERCISES
from m890sim.messages import shown

MOST_HAND_INS = 10_000
MOST_PROBLEM = 500  # characters of a message in a table
COLUMNS = (
    "student", "exercise", "name", "file", "points", "reached", "correct", "cycles", "goal_cycles",
    "start_cycles", "marks_goal", "marks_cycles", "marks_speedup", "marks_bottleneck",
    "predicted_cycles", "predicted_speedup", "predicted_bottleneck", "cycles_measured",
    "speedup_measured", "bottleneck_measured", "digest",
    "known", "same_as", "problem",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HandIn:
    """A file that a student handed in."""

    student: str
    exercise: Exercise
    path: Path


@dataclass(frozen=True, slots=True)
class CourseRow:
    """A hand-in with its grade; problem: why there is none."""

    hand_in: HandIn
    grade: Grade | None
    problem: str = ""
    same_as: tuple[str, ...] = ()  # students with the same kernel but for names

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, and a row of the table: by COLUMNS."""
        found = self.grade
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {
            "student": self.hand_in.student,
            "exercise": self.hand_in.exercise.number,
            "name": self.hand_in.exercise.name,
            "file": str(self.hand_in.path),
            "points": 0.0 if found is None else found.points,
            "reached": found is not None and found.reached,
            "correct": found is not None and found.correct,
            "same_as": list(self.same_as),
            "problem": self.problem or (found.message if found else ""),
        }
        if found is not None:
            row |= {
                "cycles": found.cycles,
                "goal_cycles": found.goal_cycles,
                "start_cycles": found.start_cycles,
                "digest": found.digest,
                "known": found.known,
            }
            row |= {f"marks_{name}": marks for name, marks in found.marks.items()}
            row |= {f"predicted_{name}": said for name, said in found.predicted.items()}
            row |= {f"{name}_measured": true for name, true in (found.true or {}).items()}
        return row


def find_hand_ins(folder: Path, exercise: Exercise | None = None) -> tuple[list[HandIn], list[str]]:
    """The hand-ins of a folder, by student and exercise, and what was passed over and why.

    Without an exercise: FOLDER/STUDENT/FILE, named as `Exercise.file`. With one: FOLDER/STUDENT.py,
    or FOLDER/STUDENT/FILE. Links are passed over, as they may lead anywhere.
    Raises: ExerciseError for no hand-in at all, or more than 10,000; OSError.
    """
    found: list[HandIn] = []
    passed: list[str] = []
    wanted = EXERCISES.values() if exercise is None else (exercise,)
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        alone = exercise is not None and path.suffix == ".py"
        student = path.stem if alone else path.name
        try:
            student_key(student)
        except ExerciseError as error:
            passed.append(f"{shown(str(path), 200)}: {error}")
            continue
        if path.is_symlink():
            passed.append(f"{shown(str(path), 200)}: a link")
        elif path.is_dir():
            files = [HandIn(student, one, path / one.file) for one in wanted]
            there = [one for one in files if one.path.is_file() and not one.path.is_symlink()]
            if not there:
                passed.append(f"{shown(str(path), 200)}: no file as `m890 exercises` names them")
            found += there
        elif alone and exercise is not None and path.is_file():
            found.append(HandIn(student, exercise, path))
        else:
            passed.append(f"{shown(str(path), 200)}: neither a student's folder nor a file .py")
        if len(found) > MOST_HAND_INS:
            raise ExerciseError(f"more than {MOST_HAND_INS:,} hand-ins; grade a part at a time")
    if not found:
        raise ExerciseError(
            f"no hand-in in {shown(str(folder), 200)}: expected a folder a student with files as "
            "`m890 exercises` names them, or, after an exercise, files STUDENT.py"
        )
    return found, passed


def grade_course(
    hand_ins: Iterable[HandIn],
    *,
    seconds: float = SECONDS,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] = lambda done, total, label: None,
) -> list[CourseRow]:
    """Grade them all, `jobs` at a time; a hand-in that is refused is a row with its problem.

    What was not predicted earns no marks for it, and the rest is graded all the same.
    """
    chosen = list(hand_ins)
    rows: list[CourseRow] = []
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:  # each waits for a process
        for done, row in enumerate(pool.map(lambda one: _graded(one, seconds), chosen)):
            progress(done + 1, len(chosen), row.hand_in.student)
            rows.append(row)
    return _with_copies(rows)


def _graded(hand_in: HandIn, seconds: float) -> CourseRow:
    from m890sim.language import DEFAULT_LIMITS

    try:
        with open(hand_in.path, "rb") as stream:
            data = stream.read(DEFAULT_LIMITS.source_bytes + 1)
        if len(data) > DEFAULT_LIMITS.source_bytes:
            raise ExerciseError(f"the file has more than {DEFAULT_LIMITS.source_bytes:,} bytes")
        text = data.decode("utf-8")
        name = shown(hand_in.path.name, 100)
        found = grade(
            hand_in.exercise.number,
            text,
            hand_in.student,
            unpredicted=True,
            seconds=seconds,
            filename=name,
        )
    except UnicodeDecodeError:
        return CourseRow(hand_in, None, "the file is no text in UTF-8")
    except M890Error as error:
        return CourseRow(hand_in, None, f"{error!s:.{MOST_PROBLEM}}")
    except OSError as error:
        return CourseRow(hand_in, None, f"cannot be read: {error.strerror}")
    return CourseRow(hand_in, found)


def _with_copies(rows: list[CourseRow]) -> list[CourseRow]:
    """The rows with `same_as`: of kernels that were changed and are alike but for names."""
    alike: dict[tuple[int, str], list[str]] = defaultdict(list)
    for row in rows:
        if row.grade is not None and row.grade.changed:
            alike[row.grade.exercise, row.grade.digest].append(row.hand_in.student)
    found = []
    for row in rows:
        others: list[str] = []
        if row.grade is not None and row.grade.changed:
            others = list(alike[row.grade.exercise, row.grade.digest])
            others.remove(row.hand_in.student)
        found.append(CourseRow(row.hand_in, row.grade, row.problem, tuple(others)))
    return found


def course_csv(rows: Iterable[CourseRow]) -> str:
    """A table by COLUMNS, a row a hand-in. No cell is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        data = row.as_dict() | {"same_as": " ".join(row.same_as)}
        writer.writerow([_cell(data[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    text = " ".join(str(value).split())[:MOST_PROBLEM]
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
