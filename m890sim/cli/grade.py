"""`m890 grade`: one hand-in of an exercise, or all of a course as CSV."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import notes, show

if TYPE_CHECKING:
    from m890sim.exercises import Exercise, Grade

MOST_SECONDS = 3600
MOST_JOBS = 64


def register(commands: Any) -> None:
    """Add the command of this group."""
    parser = commands.add_parser(
        "grade",
        help="grade a hand-in of an exercise, or a course's folder as CSV",
        description="Grade a kernel file of an exercise: its prediction, whether it is right, its "
        "cycles against the goal, and a hint. Given a folder, grade a course and print CSV: a "
        "folder a student with files as `m890 exercises start` names them, or, after an exercise, "
        "files STUDENT.py.",
        epilog="Exit status: 0 the goal is reached (of a course: graded), 1 it is not, 2 refused "
        "input.",
    )
    parser.add_argument(
        "exercise", metavar="EXERCISE", help="a number, a name, or a course's folder"
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="the kernel file (default: as `start` names it)"
    )
    parser.add_argument("--student", metavar="NAME", help="whose chip and shapes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=show.integer(1, MOST_SECONDS),
        default=120,
        help="end the grading of a file after so long (default: 120)",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=show.integer(1, MOST_JOBS),
        default=1,
        help="of a course: grade so many files at a time (default: 1)",
    )
    parser.set_defaults(handler=_grade)


def _grade(args: argparse.Namespace) -> int:
    from m890sim.cli.files import read_text
    from m890sim.errors import ExerciseError
    from m890sim.exercises import EXERCISES, get_exercise, grade
    from m890sim.exercises.steps import is_exercise
    from m890sim.language import DEFAULT_LIMITS

    folder = Path(args.exercise)
    if args.file is None and not is_exercise(args.exercise) and folder.is_dir():
        return _course(args, folder, None)
    if not is_exercise(args.exercise):
        names = ", ".join(exercise.name for exercise in EXERCISES.values())
        raise ExerciseError(
            f"{show.harmless(args.exercise)[:100]!r} is neither an exercise "
            f"(1 to {len(EXERCISES)}, or {names}) nor a folder of hand-ins"
        )
    exercise = get_exercise(args.exercise)
    if args.file is not None and Path(args.file).is_dir():
        return _course(args, Path(args.file), exercise)
    name = args.file or exercise.file
    text = read_text(Path(name), DEFAULT_LIMITS.source_bytes)
    found = grade(
        exercise.number, text, args.student, seconds=args.seconds, filename=show.harmless(name)
    )
    if args.json:
        show.print_json(found.as_dict())
    else:
        _print(exercise, found)
    return 0 if found.reached else 1


def _course(args: argparse.Namespace, folder: Path, exercise: Exercise | None) -> int:
    from m890sim.errors import ExerciseError
    from m890sim.exercises.course import course_csv, find_hand_ins, grade_course

    if args.student is not None:
        raise ExerciseError("--student is for one file; in a course the names of files say it")
    hand_ins, passed = find_hand_ins(folder, exercise)
    with show.progress(f"course {folder.name}", quiet=False) as tell:
        rows = grade_course(hand_ins, seconds=args.seconds, jobs=args.jobs, progress=tell)
    if args.json:
        show.print_json({"hand_ins": [row.as_dict() for row in rows], "passed_over": passed})
    else:
        print(course_csv(rows), end="")
    for reason in passed:
        notes.tell(f"m890: passed over {show.harmless(reason)}")
    return 0


def _print(exercise: Exercise, found: Grade) -> None:
    out = show.console()
    whose = f" for {found.student}" if found.student else ""
    out.print(f"{exercise.number}. {exercise.title}{whose}, chip {found.chip}", style="bold")
    if not found.correct:
        out.print(show.verdict(False))
        out.print(found.message)
    else:
        goal = ""
        if found.goal_cycles is not None:
            goal = f"; the goal is {show.count(found.goal_cycles)}"
            goal += f", and you began with {show.count(found.start_cycles)}"
        out.print(f"right, in {show.count(found.cycles)} cycles{goal}")
        _print_marks(found)
    if found.known:
        out.print(f"This is {found.known}, but for names.")
    for hint in found.hints:
        out.print(f"- {hint}")
    style = "green" if found.reached else ""
    out.print(f"{found.points:g} of 100 points", style=style)


def _print_marks(found: Grade) -> None:
    table = show.table("part", "you predicted", "measured", "marks", "of")
    for part, most in found.most.items():
        said = found.predicted.get(part)
        true = (found.true or {}).get(part)
        table.add_row(
            part, _value(part, said), _value(part, true), f"{found.marks[part]:g}", str(most)
        )
    show.print_whole(table)


def _value(part: str, value: Any) -> str:
    if part == "goal":
        return ""
    if value is None:
        return "-"
    return (
        show.ratio(value) if part == "speedup" else show.count(value) if part == "cycles" else value
    )
