"""Draw docs/architecture.svg: the layers of the package, and which imports which, from the source.

    python benchmarks/architecture_plot.py [--out docs/architecture.svg]

A row is a layer, the lowest first. A dot says that the row's layer imports the column's. Layers
import only those above them, so every dot lies left of the diagonal.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.layers import FACADE, LAYERS, ROOT, STANDALONE, imports, modules, part_of

LEFT, TOP, CELL, SIZE = 118, 92, 27, 13
LETTER = 7.4  # width of one, on average, in DejaVu Sans of that size
INK, FAINT, GRID, DOT = "#1f2328", "#656d76", "#d8dee4", "#2f6feb"


def measure() -> tuple[Counter[str], set[tuple[str, str]]]:
    """Lines of every layer, and which imports which."""
    lines: Counter[str] = Counter()
    edges: set[tuple[str, str]] = set()
    for path in modules():
        part = part_of(path)
        if part in FACADE | STANDALONE:
            continue
        lines[part] += len(path.read_text("utf-8").splitlines())
        used = {name.split(".")[1] for _, name in imports(path) if name.startswith("m890sim.")}
        edges.update((part, other) for other in used if other in LAYERS and other != part)
    return lines, edges


def about(lines: int) -> str:
    """To two digits, so that the picture is as it was after most changes."""
    return f"{float(f'{lines:.1e}'):,.0f}"


def draw() -> str:
    """The SVG."""
    lines, edges = measure()
    layers = [part for part in LAYERS if lines[part]]
    middle = {part: LEFT + CELL * (n + 0.5) for n, part in enumerate(layers)}
    row = {part: TOP + CELL * (n + 0.5) for n, part in enumerate(layers)}
    right, bottom = LEFT + CELL * len(layers), TOP + CELL * len(layers)
    longest = round(LETTER * max(len(LAYERS[part]) for part in layers))
    width, height = right + 70 + longest, bottom + 34
    parts: list[str] = []

    def text(x: float, y: float, words: str, color: str = INK, **more: str) -> None:
        attributes = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}"{attributes}>{escape(words)}</text>'
        )

    def line(x1: float, y1: float, x2: float, y2: float) -> None:
        place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        parts.append(f'<line {place} stroke="{GRID}"/>')

    for n, part in enumerate(layers):
        y, x = row[part], middle[part]
        line(LEFT, y, right, y)
        line(x, TOP, x, bottom)
        text(LEFT - 10, y + 4, part, text_anchor="end", font_weight="600")
        turned = f"rotate(-60 {x + 4:.1f} {TOP - 8})"
        text(x + 4, TOP - 8, part, FAINT, transform=turned)
        place = f'x="{LEFT + CELL * n:.1f}" y="{TOP + CELL * n:.1f}"'
        parts.append(f'<rect {place} width="{CELL}" height="{CELL}" fill="{GRID}"/>')
        text(right + 56, y + 4, about(lines[part]), FAINT, text_anchor="end")
        text(right + 70, y + 4, LAYERS[part])
    for part, other in sorted(edges):
        place = f'cx="{middle[other]:.1f}" cy="{row[part]:.1f}" r="6"'
        told = f"{part} imports {other}"
        parts.append(f'<circle {place} fill="{DOT}"><title>{escape(told)}</title></circle>')
    text(right + 56, TOP - 8, "lines", FAINT, text_anchor="end")
    text(
        LEFT,
        bottom + 22,
        "A dot: the row's layer imports the column's.",
        FAINT,
    )
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    font = f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="{SIZE}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    background = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, background, *parts, "</svg>", ""])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "architecture.svg")
    options = parser.parse_args()
    options.out.write_text(draw(), encoding="utf-8", newline="\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
