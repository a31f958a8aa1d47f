"""`m890 grade`: one hand-in of an exercise, or all of a course as CSV."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import show

if TYPE_CHECKING:
    from m890sim.exercises import Exercise, Grade

MOST_SECONDS = 3600


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
    parser.set_defaults(handler=_grade)


def _grade(args: argparse.Namespace) -> int:
    from m890sim.cli.files import read_text
    from m890sim.exercises import get_exercise, grade
    from m890sim.language import DEFAULT_LIMITS

    exercise = get_exercise(args.exercise)
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
