"""Write docs/exercises/first_three.ipynb: the first three exercises as a notebook.

    python benchmarks/first_three.py [--out docs/exercises/first_three.ipynb]

Cells hold no results: they are there when you have run them. `pytest -m examples` runs all of them
in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT, CODE = "markdown", "code"
CELLS = (
    (TEXT, """\
# The first three exercises

What it takes: `pip install m890sim`, or a checkout of it, and nothing else. Every command below is the one of the
shell; `m890(...)` runs it here. Files go into a folder `exercises` beside this notebook, and what is there already
stays as it is: remove the folder to begin again."""),
    (CODE, """\
import shlex
from pathlib import Path

from m890sim.cli import main

STUDENT = "ada"  # your name: it decides your chips and shapes
FOLDER = Path("exercises")


def m890(command):
    status = main(shlex.split(command))
    print(f"(exit status {status})")


def change(file, *pairs):
    \"\"\"Replace texts in a kernel file.\"\"\"
    path = FOLDER / file
    text = path.read_text()
    for old, new in pairs:
        text = text.replace(old, new)
    path.write_text(text)


def start(number, file):
    if (FOLDER / file).exists():
        print(f"{FOLDER / file} is there already")
    else:
        m890(f"exercises start {number} --student '{STUDENT}' --out {FOLDER}")
    print((FOLDER / file).read_text())


def grade(number, file):
    m890(f"grade {number} {FOLDER / file} --student '{STUDENT}'")"""),
    (TEXT, """\
## 1. By hand

One core loads two operands, adds them, and stores the sum. Your chip's numbers are in the file that is printed below;
`docs/exercises/by_hand.md` adds up a run of the same kind."""),
    (CODE, """\
start(1, "ex01_by_hand.py")
wanted = ("launch", "core_start", "dma_", "vector_bf16", "vector_startup", "dependence", "sequencer")
for line in (FOLDER / "ex01_by_hand_chip.toml").read_text().splitlines():
    if line.startswith(wanted):
        print(line)
print((FOLDER / "ex01_by_hand_task.py").read_text())"""),
    (CODE, """\
from m890sim.exercises import exercise_task

exercise_task(1, STUDENT).cases[0].symbols  # rows and columns of your operands"""),
    (TEXT, """\
Now predict: the cycles of the whole run, and which kind of time takes most of them. Write your numbers in place of
these, which are a guess, before you run the cell."""),
    (CODE, """\
change("ex01_by_hand.py", ("cycles=?", "cycles=1000"), ("bottleneck=?", "bottleneck=latency"))
grade(1, "ex01_by_hand.py")"""),
    (TEXT, "Compare your sum with the critical path, part by part:"),
    (CODE, """\
m890(
    f"profile {FOLDER}/ex01_by_hand.py --task {FOLDER}/ex01_by_hand_task.py:TASK "
    f"--chip {FOLDER}/ex01_by_hand_chip.toml"
)"""),
    (TEXT, """\
## 2. Fences

The kernel waits for everything after each step. Take one fence away, the one between the two loads, and see."""),
    (CODE, 'start(2, "ex02_fences.py")'),
    (CODE, """\
change(
    "ex02_fences.py",
    ("speedup=? bottleneck=?", "speedup=1.3 bottleneck=latency"),
    ("x[i * B : i * B + rows, :])\\n        fence()\\n", "x[i * B : i * B + rows, :])\\n"),
)
grade(2, "ex02_fences.py")"""),
    (TEXT, """\
The hint names the lines of the others. Which of them may go? Predict again, change the file in an editor or with
`change`, and grade it until the goal is reached."""),
    (TEXT, """\
## 3. Queues and slots

Without fences, each block still waits for the one before it. Here the second operand gets a queue of its own."""),
    (CODE, 'start(3, "ex03_queues.py")'),
    (CODE, """\
change(
    "ex03_queues.py",
    ("speedup=? bottleneck=?", "speedup=1.5 bottleneck=latency"),
    ("y[i * B : i * B + rows, :])", "y[i * B : i * B + rows, :], queue=1)"),
)
grade(3, "ex03_queues.py")"""),
    (TEXT, """\
What does the hint name now? `queue=` of the store and `slots=` of the tiles are left. `m890 suggest` times every single
step; `m890 exercises start 4` goes on."""),
)  # fmt: skip


def notebook() -> str:
    """The file's text: version 4.5 of the notebook format."""
    cells = []
    for number, (kind, text) in enumerate(CELLS):
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text}
        if kind == CODE:
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    data = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    out = ROOT / "docs" / "exercises" / "first_three.ipynb"
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args()
    options.out.write_text(notebook(), encoding="utf-8", newline="\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
