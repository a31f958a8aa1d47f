"""Small kernels in files, for the tests of the command line."""

from __future__ import annotations

from pathlib import Path

SMALL = """from m890sim.lang import *


@kernel
def twice(x: Tensor["T", "D"], y: Tensor["T", "D"]):
    for i in cores(ceil_div(T, 32)):
        rows = min(32, T - i * 32)  # the last block is short
        t = sram(32, D, bf16)
        load(t[:rows], x[i * 32 : i * 32 + rows, :])
        add(t[:rows], t[:rows], t[:rows])
        store(y[i * 32 : i * 32 + rows, :], t[:rows])
"""


def with_queues(folder: Path, load: int, store: int) -> Path:
    """SMALL with these queues, in a file."""
    text = SMALL.replace("rows, :])\n", f"rows, :], queue={load})\n", 1)
    text = text.replace("rows, :], t[:rows])", f"rows, :], t[:rows], queue={store})")
    path = folder / "queues.py"
    path.write_text(text, encoding="utf-8")
    return path
