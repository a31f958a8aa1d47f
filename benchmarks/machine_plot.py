"""Draw docs/machine.svg: a chip's cores, engines and memories, with the numbers of its ChipSpec.

    python benchmarks/machine_plot.py [--chip m890] [--out docs/machine.svg]

What flows where is docs/chip.md: DMA between HBM and SRAM, the matrix unit from SRAM to ACC, the
vector unit and the SFU over both.
"""

from __future__ import annotations

import argparse
from html import escape
from pathlib import Path

from m890sim.chip import ChipSpec, get_chip

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 960, 640
INK, FAINT, EDGE, PAPER = "#1f2328", "#57606a", "#8c959f", "#ffffff"
MEMORY, ENGINE, CONTROL, FLOW = "#dbe9ff", "#e3f4ea", "#f3f0e6", "#2f6feb"
CORE = (28, 122, 886, 478)  # x, y, width, height
BEHIND = 3  # cores that show behind the first


class Sheet:
    """Parts of an SVG."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, color: str = INK, **more: str) -> None:
        """A line of text; further attributes with _ for -."""
        given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
        self.parts.append(f'<text x="{x}" y="{y}" fill="{color}"{given}>{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A rectangle with rounded corners."""
        place = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="6"'
        self.parts.append(f'<rect {place} fill="{fill}" stroke="{EDGE}"/>')

    def named(
        self, x: float, y: float, width: float, height: float, fill: str, name: str, *lines: str
    ) -> None:
        """A box with a heading and lines below it."""
        self.box(x, y, width, height, fill)
        self.text(x + 12, y + 22, name, font_weight="600")
        for number, line in enumerate(lines):
            self.text(x + 12, y + 41 + 17 * number, line, FAINT, font_size="12.5")

    def arrow(self, *points: tuple[float, float], both: bool = False) -> None:
        """A line with an arrowhead at its end, or at both ends."""
        path = " ".join(f"{x},{y}" for x, y in points)
        start = ' marker-start="url(#head)"' if both else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{FLOW}" stroke-width="2"'
            f'{start} marker-end="url(#head)"/>'
        )


def draw(chip: ChipSpec) -> str:
    """The SVG."""
    sheet, c = Sheet(), chip
    sheet.text(28, 30, f"{c.name}: {c.cores} cores (fictional)", font_weight="700", font_size="17")
    sheet.named(
        28, 44, 886, 52, MEMORY, "HBM",
        f"{c.hbm_bytes / 10**9:g} GB; {c.hbm_bytes_per_cycle:,} B a cycle for all cores together, "
        f"at most {c.hbm_core_bytes_per_cycle:,} for one",
    )  # fmt: skip
    x, y, width, height = CORE
    for number in range(min(BEHIND, c.cores - 1), -1, -1):
        sheet.box(x + 6 * number, y + 6 * number, width, height, PAPER)
    sheet.text(x + 14, y + 24, "core 0", font_weight="600")
    alike = f"and {c.cores - 1} more, each with all of this" if c.cores > 1 else ""
    sheet.text(x + width - 14, y + 24, alike, FAINT, text_anchor="end", font_size="12.5")
    _queues(sheet, c)
    _sram(sheet, c)
    sheet.named(
        690, 166, 206, 116, ENGINE, f"matrix unit {c.matrix_rows} x {c.matrix_columns}",
        "streams a row a cycle (bf16)",
        f"{c.matrix_load_cycles} cycles to load a block",
        f"{c.matrix_fill_cycles} until the result is there",
        "the right operand is held",
    )  # fmt: skip
    sheet.named(
        690, 360, 206, 100, MEMORY, "ACC",
        f"{c.acc_bytes // 1024:,} KiB of fp32", "no banks, no ports",
    )  # fmt: skip
    sheet.named(
        318, 360, 146, 100, ENGINE, "vector unit",
        f"{c.vector_f32_lanes} fp32 a cycle", f"{c.vector_bf16_lanes} bf16 a cycle",
        f"start-up {c.vector_startup_cycles}",
    )  # fmt: skip
    sheet.named(
        496, 360, 146, 100, ENGINE, "SFU (exp, ...)",
        f"{c.sfu_elements_per_cycle} elements a cycle", f"start-up {c.sfu_startup_cycles}",
    )  # fmt: skip
    sheet.named(
        46, 498, 850, 84, CONTROL, "sequencer",
        "walks the kernel's text; cycles to dispatch an instruction: "
        f"{c.sequencer_dispatch_cycles}, to begin an iteration: {c.sequencer_loop_cycles}; "
        f"waiting instructions an engine: "
        f"{c.sequencer_queue_entries}",
        f"an instruction starts when its engine is free and its operands are there: "
        f"{c.dependence_cycles} cycles more from another engine; a fence waits for all",
    )  # fmt: skip
    sheet.arrow((140, 96), (140, 166), both=True)
    sheet.arrow((234, 224), (318, 224), both=True)
    sheet.arrow((642, 224), (690, 224))
    sheet.arrow((793, 282), (793, 360))
    sheet.arrow((391, 282), (391, 360), both=True)
    sheet.arrow((569, 282), (569, 360), both=True)
    sheet.arrow((642, 410), (690, 410), both=True)
    sheet.arrow((391, 460), (391, 480), (730, 480), (730, 460), both=True)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    font = 'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="14"'
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" fill="{FLOW}"/>'
        "</marker></defs>"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
            head,
            *sheet.parts,
            "</svg>",
            "",
        ]
    )


def _queues(sheet: Sheet, c: ChipSpec) -> None:
    """The DMA queues, a box each as far as four show."""
    shown = min(c.dma_queues, 4)
    height = 92 / shown
    for number in range(shown):
        top = 166 + number * height
        sheet.box(46, top, 188, height - 4, ENGINE)
        middle = top + height / 2 + 2.5
        sheet.text(58, middle, f"DMA queue {number}", font_weight="600", font_size="12.5")
    lines = (
        f"{c.dma_bytes_per_cycle} B a cycle each",
        f"{c.dma_issue_cycles} cycles to issue a transfer",
        f"{c.dma_run_cycles} at least a contiguous run",
        f"{c.dma_latency_cycles} + {c.dma_completion_cycles} until the data are there",
    )
    for number, line in enumerate(lines):
        sheet.text(46, 278 + 17 * number, line, FAINT, font_size="12.5")


def _sram(sheet: Sheet, c: ChipSpec) -> None:
    """SRAM with a box a bank."""
    sheet.named(
        318, 166, 324, 116, MEMORY, "SRAM",
        f"{c.sram_bytes // 1024:,} KiB in {c.sram_banks} banks, a port each:",
        f"{c.sram_port_bytes_per_cycle} B a cycle, reads and writes together",
    )  # fmt: skip
    width = 300 / c.sram_banks
    for bank in range(c.sram_banks):
        place = f'x="{330 + bank * width:.2f}" y="242" width="{width - 2:.2f}" height="30"'
        sheet.parts.append(f'<rect {place} fill="{PAPER}" stroke="{EDGE}"/>')


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--chip", default="m890")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "machine.svg")
    options = parser.parse_args()
    options.out.write_text(draw(get_chip(options.chip)), encoding="utf-8", newline="\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
