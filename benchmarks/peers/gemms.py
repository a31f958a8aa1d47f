"""Plain GEMMs on a 128x128 weight-stationary array: SCALE-Sim beside the simulated matrix unit."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from environments import Absent
from rich.console import Console
from rich.table import Table
from running import Peer, run_script

ROWS = COLUMNS = 128

NOTES = """\
How the GEMM counts differ. M rows of A stream past P = ceil(K / 128) * ceil(N / 128) stationary
blocks of B, on an array of 128x128.
- SCALE-Sim pays M + 382 cycles for every block: 128 to shift the block in, M to stream, 254 until
  the last sum has crossed the array (fill and drain). The next block waits for all of that. The
  total is P * (M + 382) - 1, as it reports the number of the last cycle, from 0.
- Our matrix unit loads the next block while one streams, and its rows follow right behind, so a
  block costs M (or 64, its load, if that is more), and the 128 cycles of fill come once, at last.
  "load" is what is not hidden: at most 64, for the first block, and again wherever the unit ran dry
  and the block's data came too late to be loaded before its rows.
  The kernel takes 256 rows at a time, as a longer M doesn't fit the accumulators; that costs
  nothing here, since 256 is more than 64, and the blocks change more often.
- So the ratio is about (M + 382) / M: fill, drain and load matter for short M and vanish for long.
- DRAM: SCALE-Sim's column runs from its first read to its last write, with the bandwidth that it
  assumes (CALC: 10 words a cycle before the first block, then no stalls). Ours is the whole kernel
  on one core: 2,300 cycles of launch and start, DMA at 64 B a cycle a queue with 1,030 cycles of
  issue, latency and completion, the copy out of the accumulators by the vector unit, the store.
  These two columns show what each tool models, not which array is the faster one."""


def shapes_for(tokens: int, d: int) -> list[tuple[int, int, int]]:
    """(M, N, K): one block, one long block, several blocks, and the two GEMMs of a head."""
    some = [(128, 128, 128), (1024, 128, 128), (1024, 512, 512)]
    return list(dict.fromkeys([*some, (tokens, tokens, d), (tokens, d, tokens)]))


def blocks_of(n: int, k: int) -> int:
    """Stationary blocks of a GEMM."""
    return math.ceil(k / ROWS) * math.ceil(n / COLUMNS)


def scalesim_formula(m: int, n: int, k: int) -> int:
    """Cycles by SCALE-Sim's weight-stationary model: its folds one after another."""
    return blocks_of(n, k) * (m + 2 * ROWS + COLUMNS - 2) - 1


def compare_gemms(
    shape: tuple[int, int, int], folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Both counts for every GEMM; a side that can't be had leaves its reason in "absent"."""
    gemms = shapes_for(shape[1], shape[2])
    mode = "gemm:" + ";".join(",".join(map(str, gemm)) for gemm in gemms)
    result: dict[str, Any] = {"shapes": gemms, "absent": {}}
    for side, environment, script in (
        ("scalesim", "scalesim", "attention_scalesim.py"),
        ("m890", "", "attention_m890.py"),
    ):
        try:
            peer = Peer(f"gemm-{side}", side, environment, script, mode)
            reports, ended = run_script(peer, folder, options)
        except Absent as reason:
            reports, ended = [], str(reason)
        counts = [report["gemms"] for report in reports if report["event"] == "gemms"]
        result[side] = counts[0] if counts else None
        if not counts:
            over = f"over {options.limit:g} s"
            result["absent"][side] = over if ended == "limit" else ended or "no result"
    return result


def show_gemms(result: dict[str, Any], console: Console) -> None:
    """Print the table and what explains it."""
    table = Table(title="plain GEMM, MxK times KxN, one 128x128 weight-stationary array, cycles")
    table.add_column("M, N, K")
    table.add_column("P", justify="right")
    for name in (
        "SCALE-Sim\nmeasured",
        "SCALE-Sim\nP*(M+382)-1",
        "ours\nmeasured",
        "ours\nP*M+128+load",
        "of it\nload",
        "SCALE-Sim\nover ours",
        "SCALE-Sim\nwith DRAM",
        "our whole\nkernel",
    ):
        table.add_column(name, justify="right")
    for i, (m, n, k) in enumerate(result["shapes"]):
        theirs = result["scalesim"][i] if result["scalesim"] else None
        ours = result["m890"][i] if result["m890"] else None
        p = blocks_of(n, k)
        table.add_row(
            f"{m}, {n}, {k}",
            str(p),
            f"{theirs['compute']:,}" if theirs else "-",
            f"{scalesim_formula(m, n, k):,}",
            f"{ours['matrix_unit']:,}" if ours else "-",
            f"{p * m + 128 + ours['load']:,}" if ours else "-",
            f"{ours['load']:,}" if ours else "-",
            f"{theirs['compute'] / ours['matrix_unit']:.2f}x" if ours and theirs else "-",
            f"{theirs['with_dram']:,}" if theirs else "-",
            f"{ours['whole_kernel']:,}" if ours else "-",
        )
    console.print(table)
    for side, reason in result["absent"].items():
        console.print(f"{side} is absent: {reason}", markup=False, highlight=False)
    console.print(NOTES, markup=False, highlight=False, soft_wrap=True)
