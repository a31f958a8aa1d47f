"""Draw docs/ladder.svg: how far each step of the ladders gets, from cycles that are measured now.

    python benchmarks/ladder_plot.py [--chip m890] [--out docs/ladder.svg]

Bars are geometric-mean speedups over the reference kernel on the simulated, fictional chip. The
dashed lines are figures published for real hardware, a yardstick and no result of this simulator.
"""

from __future__ import annotations

import argparse
import math
import textwrap
from html import escape
from pathlib import Path

from m890sim.chip import ChipSpec, get_chip
from m890sim.cli.ladder import Rung, climb
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import SUITE, Task, lower_bound_cycles

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = (1.1, 3.3, 5.0, 7.3, 10.0)  # speedups on real hardware: four agents, and the LLM agent
NOTE = (
    "Dashed: published for REAL hardware (LLM agent 10.0x; other agents 7.3x, 5.0x, 3.3x, 1.1x). "
    "Not results of this simulator."
)
WIDTH, LEFT, RIGHT, ROW, BAR = 960, 360, 70, 36, 20
INK, FAINT, YARDSTICK = "#1f2328", "#656d76", "#b35900"
COLORS = {"extend": "#2f6feb", "decode": "#1a7f64"}


class Drawing:
    """Lines of an SVG, and the logarithmic axis that bars and yardsticks share."""

    def __init__(self, largest: float) -> None:
        self.largest = largest
        self.parts: list[str] = []

    def x(self, speedup: float) -> float:
        """Where a speedup lies, in pixels; 1x is the left end of the axis."""
        span = WIDTH - LEFT - RIGHT
        return LEFT + span * math.log(max(speedup, 1.0)) / math.log(self.largest)

    def text(
        self, x: float, y: float, words: str, size: int = 13, color: str = INK, **more: str
    ) -> None:
        """One line of text; `more` holds attributes, an underscore for each hyphen."""
        attributes = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}"{attributes}>'
            f"{escape(words)}</text>"
        )

    def line(self, x: float, top: float, bottom: float, color: str, dash: str = "") -> None:
        """A vertical line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" '
            f'stroke="{color}" stroke-width="1.2"{dashed}/>'
        )

    def bar(self, y: float, speedup: float, color: str) -> None:
        """A bar from 1x to a speedup."""
        width = max(self.x(speedup) - LEFT, 2.0)
        self.parts.append(
            f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2" '
            f'fill="{color}"/>'
        )

    def svg(self, height: float) -> str:
        """The whole file."""
        font = "font-family=\"system-ui, 'DejaVu Sans', sans-serif\""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'width="{WIDTH}" height="{height:.0f}" {font}>'
        )
        background = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
        return "\n".join([head, background, *self.parts, "</svg>", ""])


def mean_bound(task: Task, chip: ChipSpec, reference: Rung) -> float:
    """The geometric-mean speedup over the reference that the lower bounds allow."""
    logs = [
        math.log(reference.cycles[case.name] / lower_bound_cycles(case, chip))
        for case in task.cases
    ]
    return math.exp(math.fsum(logs) / len(logs))


def draw(chip: ChipSpec) -> str:
    """The picture of all ladders on a chip."""
    ladders = {task.name: climb(task, chip, quiet=False) for task in SUITE.values()}
    bounds = {name: mean_bound(SUITE[name], chip, rungs[0]) for name, rungs in ladders.items()}
    drawing = Drawing(max(*bounds.values(), 12.0) * 1.08)
    drawing.text(20, 30, "Speedup over the reference kernel, step by step", 19, font_weight="bold")
    about = (
        f"Simulated on the fictional chip {chip.name}, timing version {TIMING_VERSION}; "
        "geometric mean over a task's cases, log scale."
    )
    drawing.text(20, 50, about, 13, FAINT)
    y = 84.0
    for name, rungs in ladders.items():
        y = panel(drawing, y, name, rungs, bounds[name])
    drawing.text(20, y + 4, NOTE, 12, YARDSTICK)
    return drawing.svg(y + 20)


def panel(drawing: Drawing, top: float, name: str, rungs: list[Rung], bound: float) -> float:
    """One ladder from `top` down; returns where the next one may begin."""
    cases = ", ".join(rungs[0].cycles)
    drawing.text(20, top, f"Task {name}", 15, font_weight="bold")
    drawing.text(20 + 11 * len(f"Task {name}"), top, cases, 11, FAINT)
    first, bottom = top + 30, top + 30 + ROW * len(rungs)
    for speedup in PUBLISHED:
        drawing.line(drawing.x(speedup), first - 6, bottom, YARDSTICK, "4 3")
        drawing.text(
            drawing.x(speedup), first - 9, f"{speedup:.1f}x", 10, YARDSTICK, text_anchor="middle"
        )
    drawing.line(drawing.x(bound), first - 6, bottom, INK)
    drawing.text(
        drawing.x(bound), first - 9, f"lower bound {bound:.0f}x", 10, INK, text_anchor="middle"
    )
    for number, rung in enumerate(rungs):
        y = first + ROW * number
        drawing.text(20, y + BAR / 2 + 4, str(rung.step), 12, FAINT)
        lines = textwrap.wrap(rung.idea, 46, max_lines=2, placeholder=" ...")
        for at, words in enumerate(lines):
            middle = y + BAR / 2 + 4 + (at - (len(lines) - 1) / 2) * 14
            drawing.text(40, middle, words, 12)
        drawing.bar(y, rung.speedup, COLORS.get(name, INK))
        end = drawing.x(rung.speedup) + 6
        drawing.parts.append(
            f'<rect x="{end - 2:.1f}" y="{y + 2:.1f}" width="48" height="{BAR - 4}" '
            'fill="#ffffff"/>'
        )
        drawing.text(end, y + BAR / 2 + 5, f"{rung.speedup:.1f}x", 13, INK, font_weight="bold")
    return bottom + 36


def main() -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description="Draw the ladders from measured cycles.")
    parser.add_argument("--chip", default="m890")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "ladder.svg")
    args = parser.parse_args()
    args.out.write_text(draw(get_chip(args.chip)), encoding="utf-8", newline="\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
