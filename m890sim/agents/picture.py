"""The picture of a run: speedup over evaluations, with the published yardsticks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m890sim.agents.files import write_whole
from m890sim.agents.plan import Plan
from m890sim.drawing.canvas import Box, Canvas
from m890sim.drawing.curve import Speedups, draw_curve, draw_key
from m890sim.drawing.fonts import shortened
from m890sim.drawing.palette import LIGHT
from m890sim.messages import shown
from m890sim.session import LogEntry
from m890sim.timing import TIMING_VERSION

# Speedups published for real hardware: an LLM agent, then other agents. No results of this package.
PUBLISHED = (10.0, 7.3, 5.0, 3.3)
YARDSTICKS = "published for REAL hardware (LLM agents), no results of ours"
FAILED = "failed"
WIDTH, HEIGHT, SCALE = 760, 430, 2


def best_so_far(log: Sequence[LogEntry]) -> list[float]:
    """Speedup of the best accepted evaluation after each evaluation, 1.0 before any."""
    best, found = 1.0, []
    for entry in log:
        if entry.accepted:
            best = max(best, entry.speedup)
        found.append(best)
    return found


def speedups_of(plan: Plan, log: Sequence[LogEntry]) -> Speedups:
    """The curve of a run."""
    return Speedups(
        [None if entry.failed else entry.speedup for entry in log],
        best_so_far(log),
        plan.evaluations,
        PUBLISHED,
    )


def draw(file: Path, plan: Plan, log: Sequence[LogEntry]) -> None:
    """Write the picture as PNG. Raises: RunError where it cannot be written."""
    write_whole(file, run_picture(plan, speedups_of(plan, log)).png())


def run_picture(plan: Plan, found: Speedups, more: int = 0) -> Canvas:
    """A curve below its title and key; `more`: how much room is left below it."""
    canvas = Canvas(WIDTH, HEIGHT + more, LIGHT.back, SCALE)
    title = (
        f"{shown(plan.task.name)} on {shown(plan.chip.name, 100)} (fictional): agent "
        f"{shown(plan.agent)}, seed {plan.seed}, timing version {TIMING_VERSION}"
    )
    room = (WIDTH - 24) * SCALE
    canvas.text(12, 18, shortened(title, 14 * SCALE, room, bold=True), LIGHT.ink, 14, bold=True)
    about = f"speedup over {shown(plan.task.reference_name)}, simulated, by evaluation"
    canvas.text(12, 37, shortened(about, 12 * SCALE, room), LIGHT.dim, 12)
    draw_key(canvas, 12, 56, LIGHT, YARDSTICKS, FAILED)
    draw_curve(canvas, Box(6, 66, WIDTH - 2, HEIGHT - 4), found, LIGHT)
    return canvas
