"""Which rows of an output are looked at: drawn from the case and the seed, never from a kernel."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

from m890sim.judge.gates import Array
from m890sim.workloads import DISTRIBUTIONS, Case

FULL_WORK = 2_000_000  # `Case.work` up to which every row of every distribution is looked at
# Bytes that a case loads up to which that holds too; beyond, inputs take longer than arithmetic.
FULL_BYTES = 96 * 2**20
LEAST_ROWS = 256  # of a larger case, on each distribution
TURNS = 3  # cases of a quick gate that share the distributions among them
# Of the tolerance, what a row of a quick gate may use. It sees few rows, and a kernel that is too
# coarse fails on few; the built-in kernels stay below 0.55 of it on every row that was measured.
QUICK_TOLERANCE = 0.6
RUN = 32  # neighbours that are drawn together where many rows are
SPREAD = 2 * RUN  # fewer rows are drawn one by one


def rows_of(case: Case, output: str | None = None) -> int:
    """Rows of an output of the case, along its last dimension; None: of the one that there is."""
    return int(np.prod(_row_shape(case, output), dtype=np.int64))


def _row_shape(case: Case, output: str | None) -> tuple[int, ...]:
    return (case.output_shape if output is None else case.shape_of(output))[:-1]


def chosen_rows(case: Case, rows: int | None, output: str | None = None) -> int:
    """How many rows of an output to look at on each distribution.

    rows: so many at most; None: all, and a share where the case is beyond FULL_WORK or FULL_BYTES.
    """
    total = rows_of(case, output)
    if rows is not None:
        return min(rows, total)
    loaded = case.loaded_bytes
    share = min(1.0, FULL_WORK / max(1, case.work))
    if loaded > FULL_BYTES:
        share = min(share, FULL_BYTES / loaded / 10)
    return total if share == 1.0 else min(total, max(LEAST_ROWS, int(total * share)))


def dealt(distributions: tuple[str, ...], number: int) -> tuple[str, ...]:
    """The distributions that a quick gate looks at on case `number` of those it judges.

    All on the first, which is the smallest; on the others the first distribution, and every third
    one in turn, so that three more cases show each once.
    """
    if number == 0 or len(distributions) < TURNS:
        return distributions
    ordinary, others = distributions[:1], distributions[1:]
    return ordinary + others[number % TURNS :: TURNS]


@lru_cache(maxsize=128)
def draw_rows(
    case: Case, seed: int, distribution: str, count: int, output: str | None = None
) -> Array | None:
    """The rows to look at, bool of the output's shape without its last dimension; None for all.

    One from each of equal stretches, so that all sequences and heads have their share: rows, or
    where they are many, runs of neighbours along `Case.run_axis`, which cost a kernel less than as
    many rows apart. Those of a stretch are dealt to the distributions without replacement: where
    their shares come to all rows, some distribution looks at every row. The first and the last row
    are among a dozen or more. The same (case, seed, distribution, count) gives the same rows on
    every machine. Read-only, and shared.
    """
    total = rows_of(case, output)
    if count >= total:
        return None
    shape = _row_shape(case, output)
    axis = min(case.run_axis, len(shape) - 1)
    first = shape[axis]
    run = min(RUN, first) if count >= SPREAD else 1
    runs = -(-count // run)
    edges = np.arange(runs + 1, dtype=np.int64) * total // runs
    lengths = np.diff(edges)
    cells = -(-lengths // run)
    dealt = _dealt_cells(case, seed, distribution, count, cells)
    # The last cell of a stretch begins early enough to end with it.
    starts = edges[:-1] + np.clip(lengths - run, 0, dealt * run)
    # That dimension last, so that a run does not leave its line of rows.
    columns: Array = np.zeros((total // first, first), bool)
    flat = columns.reshape(-1)
    flat[np.minimum(starts[:, None] + np.arange(run), total - 1)] = True
    if count >= 12:
        flat[[0, -1]] = True
    others = [extent for number, extent in enumerate(shape) if number != axis]
    mask: Array = np.moveaxis(columns.reshape(*others, first), -1, axis)
    mask = np.ascontiguousarray(mask)
    mask.setflags(write=False)
    return mask


def _dealt_cells(case: Case, seed: int, distribution: str, count: int, cells: Array) -> Array:
    """The cell, 0 ... cells - 1, of each stretch that a distribution looks at; int64 [stretches].

    A stretch's cells lie on a circle, the distributions in a random order at equal distances on it
    and turned by a random number of cells: no two on one cell where there are cells enough, and no
    cell without one where there are not more of them than distributions.
    """
    stream = np.random.PCG64([seed, zlib.crc32(case.name.encode()), count])
    order = np.argsort(stream.random_raw(len(DISTRIBUTIONS)), kind="stable")
    turn = int(order[list(DISTRIBUTIONS).index(distribution)])
    first = (stream.random_raw(len(cells)) % cells.astype(np.uint64)).astype(np.int64)
    found: Array = (first + turn * cells // len(DISTRIBUTIONS)) % cells
    return found
