"""`m890 exercises`: the ten steps of the course, and the files that each begins with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from m890sim.cli import show

ALL = "all"


def register(commands: Any) -> None:
    """Add the commands of this group."""
    parser = commands.add_parser(
        "exercises",
        help="the steps of a course, and the files that each begins with",
        description="List the exercises, or write the files that one begins with: a kernel, a "
        "chip, and a task that m890 run, profile and suggest take.",
        epilog="m890 exercises start 1 writes the first; docs/exercises/README.md is their page.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(handler=_list, student=None)
    actions = parser.add_subparsers(metavar="ACTION")
    start = actions.add_parser(
        "start",
        help="write the files that an exercise begins with",
        description="Write the files that an exercise begins with. No file is overwritten.",
    )
    start.add_argument("exercise", metavar="EXERCISE", help="a number, a name, or `all`")
    start.add_argument(
        "--student", metavar="NAME", help="draw a chip and shapes for this name (default: presets)"
    )
    start.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="the folder (default: this one)"
    )
    start.set_defaults(handler=_start)
    solutions = actions.add_parser(
        "solutions",
        help="write the model solutions and what they take (for instructors)",
        description="Write the model solutions, and what they take as results.csv. No file is "
        "overwritten.",
    )
    solutions.add_argument(
        "--student", metavar="NAME", help="on the chip and shapes of this student"
    )
    solutions.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder")
    solutions.set_defaults(handler=_solutions)


def _list(args: argparse.Namespace) -> int:
    from m890sim.exercises import EXERCISES

    if args.json:
        found = [
            {
                "number": one.number,
                "name": one.name,
                "title": one.title,
                "text": one.text,
                "task": one.task,
                "chip": one.chip,
                "asks": list(one.asks),
                "file": one.file,
            }
            for one in EXERCISES.values()
        ]
        show.print_json({"exercises": found})
        return 0
    rows = [[str(e.number), e.title, e.task, e.chip, e.file] for e in EXERCISES.values()]
    columns = ("", "exercise", "task", "chip", "file")
    show.print_table(columns, rows, text=columns, wrap=("exercise",))
    print("m890 exercises start NUMBER [--student NAME] writes the files of one;")
    print("m890 grade NUMBER says how far you are, once you have written your prediction.")
    return 0


def _start(args: argparse.Namespace) -> int:
    from m890sim.exercises import EXERCISES, get_exercise
    from m890sim.exercises.starting import write_start

    chosen = EXERCISES.values() if args.exercise == ALL else [get_exercise(args.exercise)]
    for exercise in chosen:
        files = write_start(exercise, args.out, args.student)
        kernel, chip, task = (show.harmless(str(path)) for path in files)
        print(f"{exercise.number}. {exercise.title}. {exercise.text}")
        print(f"   wrote {kernel}, {chip}, {task}")
    if len(files) and args.exercise != ALL:
        student = "" if args.student is None else f" --student {args.student!r}"
        print(f"   first write your prediction into {kernel}; then")
        print(f"   m890 grade {exercise.number} {kernel}{student}")
        print(f"   m890 profile {kernel} --task {task}:TASK --chip {chip}")
    return 0


def _solutions(args: argparse.Namespace) -> int:
    from m890sim.exercises import EXERCISES
    from m890sim.exercises.starting import solution_files, write_new

    files = solution_files(list(EXERCISES.values()), args.student)
    for path in write_new({args.out / name: text for name, text in files.items()}):
        print(f"wrote {show.harmless(str(path))}")
    return 0
