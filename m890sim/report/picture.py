"""The report of a run as one picture: its curve, and the steps that gained most below it."""

from __future__ import annotations

import math

from m890sim.agents.picture import HEIGHT, SCALE, WIDTH, run_picture
from m890sim.drawing.canvas import Box, Canvas
from m890sim.drawing.fonts import shortened
from m890sim.drawing.palette import LIGHT
from m890sim.report.lineage import gain_text
from m890sim.report.run import RunReport

STEPS = 12  # that are shown
ROW, HEAD, FOOT = 19, 34, 26
BAR, WHAT = 190, 470  # where the bars begin and the words


def report_picture(report: RunReport) -> Canvas:
    """The picture; its `png()` is the file."""
    told = main_steps(report, STEPS)
    more = HEAD + ROW * len(told) + FOOT if told else FOOT
    canvas = run_picture(report.plan, report.curve, more)
    y = HEIGHT + 12.0
    if told:
        steps = len(report.lineage) - 1
        title = f"The steps of the best kernel: {len(told)} of {steps} that changed it most"
        canvas.text(12, y, title, LIGHT.ink, 13, bold=True)
        _steps(canvas, report, told, y + HEAD - 12)
    _last_line(canvas, report, HEIGHT + more - 12)
    return canvas


def main_steps(report: RunReport, most: int) -> list[int]:
    """The numbers of the steps that changed the speedup most, in their order."""
    gains = [
        (-abs(math.log(step.gain)), number)
        for number, step in enumerate(report.lineage)
        if step.gain is not None
    ]
    return sorted(number for _, number in sorted(gains)[:most])


def _steps(canvas: Canvas, report: RunReport, told: list[int], top: float) -> None:
    gains = [report.lineage[number].gain or 1.0 for number in told]
    largest = max(0.01, *(abs(math.log(gain)) for gain in gains))
    for place, (number, gain) in enumerate(zip(told, gains, strict=True)):
        step, y = report.lineage[number], top + place * ROW
        canvas.text(34, y, str(number), LIGHT.dim, 12, "right")
        canvas.text(104, y, gain_text(gain), LIGHT.ink, 12, "right")
        assert step.speedup is not None
        canvas.text(170, y, f"{step.speedup:.2f}x", LIGHT.ink, 12, "right")
        wide = (WHAT - 20 - BAR) * abs(math.log(gain)) / largest
        colour = LIGHT.vector if gain >= 1 else LIGHT.loss
        canvas.rectangle(Box(BAR, y - 5, WHAT - 20, y + 5), LIGHT.panel)
        canvas.rectangle(Box(BAR, y - 5, BAR + wide, y + 5), colour)
        words = step.what + (f", {len(step.places)} places" if len(step.places) > 1 else "")
        room = (WIDTH - WHAT - 8) * SCALE
        canvas.text(WHAT, y, shortened(words, 12 * SCALE, room), LIGHT.ink, 12)


def _last_line(canvas: Canvas, report: RunReport, y: float) -> None:
    parts = [f"{len(report.lines)} evaluations, {report.failed} failed"]
    whole = sum(report.seconds.values())
    if whole:
        by_part = sorted(report.seconds.items(), key=lambda entry: -entry[1])
        shares = ", ".join(f"{part} {100 * value / whole:.0f}%" for part, value in by_part)
        parts.append(f"time: {whole:.1f} s: {shares}")
    text = shortened("; ".join(parts), 12 * SCALE, (WIDTH - 24) * SCALE)
    canvas.text(12, y, text, LIGHT.dim, 12)
