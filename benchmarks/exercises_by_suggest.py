"""How far `m890 suggest` alone gets in the exercises: at each step its first suggestion is made.

    python benchmarks/exercises_by_suggest.py [--student NAME ...] [--steps 15]

Prints the table of docs/exercises/instructor/README.md.
"""

from __future__ import annotations

import argparse

from m890sim.cli import show
from m890sim.exercises import EXERCISES, Exercise
from m890sim.exercises.grading import tier
from m890sim.profile import profile_kernel
from m890sim.profile.suggest import context_for, suggestions
from m890sim.schedule import rewrite


def follow(exercise: Exercise, student: str | None, most: int) -> tuple[int, int, int]:
    """Steps made, cycles reached, and per cent of the marks for them; it ends at the goal."""
    own = exercise.drawn(student)
    profile = profile_kernel(exercise.start, own.case, own.chip)
    steps = 0
    while steps < most and profile.cycles > own.goal_cycles:
        found = suggestions(profile, own.task)
        if not found or found[0].saved <= 0:
            break
        kernel, context = profile.kernel, context_for(profile, own.task)
        for edit in found[0].edits:
            kernel = rewrite(kernel, edit, context)
        profile = profile_kernel(kernel, own.case, own.chip)
        steps += 1
    return steps, profile.cycles, tier(profile.cycles, own.goal_cycles, own.start_cycles)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--student", nargs="*", default=["ada", "bob"])
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    rows = []
    for exercise in EXERCISES.values():
        if exercise.changes:
            for student in (None, *options.student):
                own = exercise.drawn(student)
                steps, cycles, marks = follow(exercise, student, options.steps)
                row = [str(exercise.number), student or "preset", str(steps), show.count(cycles)]
                rows.append([*row, show.count(own.goal_cycles), f"{marks}%"])
    columns = ["", "student", "steps", "cycles", "goal", "marks for cycles"]
    print(show.markdown(columns, rows))


if __name__ == "__main__":
    main()
