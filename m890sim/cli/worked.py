"""The table of docs/exercises/by_hand.md."""

from __future__ import annotations

from m890sim.cli import show


def markdown_worked() -> str:
    """Every instruction of the worked run: dispatch, start, end, result, and why."""
    from m890sim.exercises.worked import worked_steps

    rows = []
    for step in worked_steps():
        rows.append(
            [
                f"`{step.text}`",
                show.count(step.dispatch),
                f"{show.count(step.start)}: {step.start_why}",
                f"{show.count(step.finish)}: {step.finish_why}",
                f"{show.count(step.ready)}: {step.ready_why}",
            ]
        )
    columns = ["instruction", "dispatched", "starts", "engine free", "result there"]
    return show.markdown(columns, rows)
