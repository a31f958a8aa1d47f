"""Tables of the exercises: the steps, what is drawn, and what the model solutions take."""

from __future__ import annotations

from m890sim.cli import show

STUDENTS = 12  # drawn for the ranges of the instructor's table


def step_rows() -> tuple[list[str], list[list[str]]]:
    """Columns and rows: what each exercise is about, and what it asks to predict."""
    from m890sim.exercises import EXERCISES

    rows = [
        [str(e.number), f"`{e.file}`", e.title, f"`{e.task}`", f"`{e.chip}`", ", ".join(e.asks)]
        for e in EXERCISES.values()
    ]
    return ["", "file", "what to do", "task", "chip", "predict"], rows


def drawn_rows() -> tuple[list[str], list[list[str]]]:
    """Columns and rows: fields of chips and extents of exercises, and what a student may get."""
    from m890sim.exercises import EXERCISES
    from m890sim.exercises.draw import DRAWN_FIELDS

    rows = [
        [f"`{preset}`", f"`{field}`", _values(values)]
        for preset, fields in DRAWN_FIELDS.items()
        for field, values in fields.items()
    ]
    rows += [
        [f"exercise {e.number}", f"`{extent}`", _values(values)]
        for e in EXERCISES.values()
        for extent, values in e.shapes.items()
    ]
    return ["of", "number", "one of"], rows


def _values(values: tuple[int, ...]) -> str:
    return ", ".join(show.count(value) for value in sorted(values))


def solution_rows() -> tuple[list[str], list[list[str]]]:
    """Columns and rows: cycles of start, model solution and goal; ranges over drawn students."""
    from m890sim.exercises import EXERCISES
    from m890sim.exercises.bottleneck import bottlenecks, shares_of
    from m890sim.profile import profile_kernel

    rows = []
    for exercise in EXERCISES.values():
        own = exercise.drawn()
        shares = shares_of(bottlenecks(profile_kernel(exercise.model, own.case, own.chip)))
        most = ", ".join(f"{word} {show.share(part)}" for word, part in list(shares.items())[:2])
        drawn = [exercise.drawn(f"student {number}") for number in range(STUDENTS)]
        starts = [one.start_cycles for one in drawn]
        gains = [one.start_cycles / one.goal_cycles for one in drawn]
        goal, gain = ("-", "-") if not exercise.changes else (
            show.count(own.goal_cycles), show.ratio(own.start_cycles / own.goal_cycles)
        )  # fmt: skip
        ranged = "-" if not exercise.changes else f"{min(gains):.2f} to {max(gains):.2f}"
        rows.append(
            [
                str(exercise.number),
                show.count(own.start_cycles),
                show.count(own.model_cycles) if exercise.changes else "-",
                goal,
                gain,
                most,
                f"{show.count(min(starts))} to {show.count(max(starts))}",
                str(len(set(starts))),
                ranged,
            ]
        )
    columns = ["", "start", "model", "goal", "goal's speedup", "model's path after the launch"]
    columns += [f"start of {STUDENTS} students", "unlike", "their goals' speedups"]
    return columns, rows
