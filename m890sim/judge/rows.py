"""Which rows of an output are looked at: drawn from the case and the seed, never from a kernel."""

from __future__ import annotations

import zlib

import numpy as np

from m890sim.judge.gates import Array
from m890sim.workloads import Case

FULL_WORK = 40_000_000  # `Case.work` up to which every row of every distribution is looked at
LEAST_ROWS = 256  # of a larger case, on each distribution


def rows_of(case: Case) -> int:
    """Rows of the case's output, along its last dimension."""
    return int(np.prod(case.output_shape[:-1], dtype=np.int64))


def chosen_rows(case: Case, rows: int | None) -> int:
    """How many rows of each distribution to look at.

    rows: so many at most; None: all, and a share of them where the case is larger than FULL_WORK.
    """
    total = rows_of(case)
    if rows is not None:
        return min(rows, total)
    if case.work <= FULL_WORK:
        return total
    return min(total, max(LEAST_ROWS, total * FULL_WORK // case.work))


def draw_rows(case: Case, seed: int, distribution: str, count: int) -> Array | None:
    """The rows to look at, bool of the output's shape without its last dimension; None for all.

    One row from each of `count` equal stretches, so that all sequences and heads have their share;
    the first and the last row are always among them where there are two or more. The same (case,
    seed, distribution, count) gives the same rows on every machine.
    """
    total = rows_of(case)
    if count >= total:
        return None
    stream = [seed, zlib.crc32(case.name.encode()), zlib.crc32(distribution.encode()), count]
    draws = np.random.PCG64(stream).random_raw(count).tolist()
    edges = [number * total // count for number in range(count + 1)]
    chosen = [
        first + draw % (last - first)
        for first, last, draw in zip(edges, edges[1:], draws, strict=False)
    ]
    if count > 1:
        chosen[0], chosen[-1] = 0, total - 1
    mask: Array = np.zeros(total, bool)
    mask[chosen] = True
    return mask.reshape(case.output_shape[:-1])
