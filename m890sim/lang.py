"""Hover help for kernel files: every word of the tile language, documented.

A kernel file is data. It begins with `from m890sim.lang import *` so that editors know its words.
It is read by `m890sim.parse` and never executed; executing or importing one ends in an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

from m890sim.errors import M890Error


class Tile:
    """A 2-D piece of SRAM or ACC, from sram() or acc(): `kt[:cols]`, `s[:n, :m]`, `kt.T`."""

    T: Tile  # the transpose, where matmul reads it

    def __getitem__(self, index: Any) -> Tile:
        """A piece of the tile: one slice for its rows, or two for rows and columns."""
        _refuse()


class Tensor:
    """A parameter in HBM: `q: Tensor["T", "HQ", "D"]`, of bf16 unless a dtype follows.

    A dimension is "NAME", "NAME + 1", "NAME - 1" or an integer; a name is one number everywhere.
    """

    def __class_getitem__(cls, dims: Any) -> type[Tensor]:
        """The annotation with its dimensions."""
        return cls

    def __getitem__(self, index: Any) -> Any:
        """A piece of the tensor: an index, a slice or a gather `table[a : b]` a dimension."""
        _refuse()


class Table:
    """Integers given at launch, `kv_indptr: Table["B + 1"]`, that scalars and gathers read."""

    def __class_getitem__(cls, dims: Any) -> type[Table]:
        """The annotation with its one dimension."""
        return cls

    def __getitem__(self, index: Any) -> Any:
        """An element, as an integer; or a slice, as a gather inside a tensor's brackets."""
        _refuse()


class Dtype:
    """A data type of tiles and tensors."""


Scalar: TypeAlias = float  # a float given at launch: `scale: Scalar`
Size: TypeAlias = int  # an integer given at launch: `max_extend: Size`
Tunable: TypeAlias = int  # an integer constant of the kernel: `BQ: Tunable = 128`
Value: TypeAlias = Tile | float

f32 = Dtype()  # 4 bytes an element
bf16 = Dtype()  # 2 bytes
f16 = Dtype()  # 2 bytes
f8e4m3 = Dtype()  # 1 byte: sign, 4 bits of exponent, 3 of fraction; no infinities
inf: float = float("inf")
LOG2E: float = 1.4426950408889634  # log2(e): exp(x) = exp2(LOG2E * x)
LN2: float = 0.6931471805599453  # ln(2)


class Engine:
    """A unit of a core that `engine=` can name."""


vector = Engine()  # the vector unit
sfu = Engine()  # the special-function unit
matrix = Engine()  # the matrix unit
dma = Engine()  # the DMA queues; `queue=` picks one
sequencer = Engine()  # dispatches every instruction, runs fences


def _refuse(file: str = "FILE") -> NoReturn:
    raise M890Error(f"kernel files are data and are not executed; run `m890 run {file}`")


def kernel(function: Callable[..., Any]) -> NoReturn:
    """Marks the one kernel of a file, which is read, never executed: run `m890 run FILE`."""
    _refuse(function.__code__.co_filename)


def cores(*extents: int, order: str = "block") -> Iterator[Any]:
    """A phase: work items, one for each pair of `for a, b in cores(A, B)`, spread over the cores.

    order: "block", "cyclic", "snake" or "dynamic". Between two phases all cores meet at a barrier.
    """
    _refuse()


def range(*bounds: int) -> Iterator[int]:
    """A loop: range(stop), range(start, stop) or range(start, stop, step), step a constant."""
    _refuse()


class stage:
    """`with stage(n):` in a loop: stage n of iteration t runs beside stage 0 of iteration t + n."""

    def __init__(self, index: int) -> None:
        _refuse()

    def __enter__(self) -> None:
        """Begins the stage."""

    def __exit__(self, *error: object) -> None:
        """Ends the stage."""


def sram(rows: int, cols: int, dtype: Dtype, *, slots: int = 1, at: int | None = None) -> Tile:
    """A tile in SRAM, undefined at first; `slots` copies let iterations overlap, `at`: its bank."""
    _refuse()


def acc(rows: int, cols: int, dtype: Dtype = f32, *, slots: int = 1) -> Tile:
    """A tile in the accumulator memory, f32: for matmul's results, the vector unit and the SFU."""
    _refuse()


def hbm(*dims_and_dtype: Any) -> Tensor:
    """HBM scratch, `hbm(rows, columns, f32)`, declared above the phases, undefined at first."""
    _refuse()


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    _refuse()


# ---- the instructions, generated from isa.OPS; renewed with the golden files ----


def load(dst: Tile, src: Tensor, *, queue: int = 0) -> None:
    """Copy a piece of HBM into SRAM.

    queue: DMA queue
    """
    _refuse()


def store(dst: Tensor, src: Tile, *, queue: int = 0) -> None:
    """Copy a piece of SRAM into HBM.

    queue: DMA queue
    """
    _refuse()


def matmul(dst: Tile, a: Tile, b: Tile, *, accumulate: bool = False) -> None:
    """dst = a @ b, or dst += a @ b with accumulate=True; a streams, b is stationary; sums in fp32.

    accumulate: add to dst instead of replacing it
    """
    _refuse()


def copy(dst: Tile, src: Tile) -> None:
    """dst = src, rounded to dst's dtype."""
    _refuse()


def fill(dst: Tile, value: Value) -> None:
    """Every element of dst = value."""
    _refuse()


def add(dst: Tile, a: Tile, b: Value) -> None:
    """dst = a + b."""
    _refuse()


def sub(dst: Tile, a: Tile, b: Value) -> None:
    """dst = a - b."""
    _refuse()


def mul(dst: Tile, a: Tile, b: Value) -> None:
    """dst = a * b."""
    _refuse()


def div(dst: Tile, a: Tile, b: Value) -> None:
    """dst = a / b; division takes the vector unit eight passes."""
    _refuse()


def max(dst: Any, a: Any, b: Any = None, *more: int) -> Any:
    """dst = the larger of a and b.

    Inside an expression: the largest of two or more integers.
    """
    _refuse()


def min(dst: Any, a: Any, b: Any = None, *more: int) -> Any:
    """dst = the smaller of a and b.

    Inside an expression: the least of two or more integers.
    """
    _refuse()


def fma(dst: Tile, a: Tile, b: Value, c: Value) -> None:
    """dst = a * b + c, rounded once."""
    _refuse()


def row_max(dst: Tile, src: Tile) -> None:
    """dst[r] = largest element of row r."""
    _refuse()


def row_sum(dst: Tile, src: Tile) -> None:
    """dst[r] = sum of row r."""
    _refuse()


def col_max(dst: Tile, src: Tile) -> None:
    """dst[c] = largest element of column c."""
    _refuse()


def col_sum(dst: Tile, src: Tile) -> None:
    """dst[c] = sum of column c."""
    _refuse()


def causal_mask(dst: Tile, *, row: int, col: int, group: int = 1) -> None:
    """In place: -inf where the column's position is beyond the row's: col + c > row + r // group.

    row: position of the tile's first row
    col: position of the tile's first column
    group: rows that share one position (packed query heads)
    """
    _refuse()


def window_mask(dst: Tile, *, row: int, col: int, window: int, group: int = 1) -> None:
    """In place: -inf where the column lies `window` or more positions behind the row: col + c <=
    row + r // group - window.

    row: position of the tile's first row
    col: position of the tile's first column
    window: visible positions, the row's own included
    group: rows that share one position (packed query heads)
    """
    _refuse()


def limit_mask(dst: Tile, *, limit: int) -> None:
    """In place: -inf in columns c >= limit.

    limit: visible columns
    """
    _refuse()


def transpose(dst: Tile, src: Tile) -> None:
    """dst = the transpose of src; four passes."""
    _refuse()


def exp(
    dst: Tile,
    src: Tile,
    *,
    scale: Value | None = None,
    bias: Value | None = None,
    row_sum: Tile | None = None,
) -> None:
    """dst = e ** (src * scale + bias); row_sum[r] = sum of row r of the result."""
    _refuse()


def exp2(
    dst: Tile,
    src: Tile,
    *,
    scale: Value | None = None,
    bias: Value | None = None,
    row_sum: Tile | None = None,
    engine: Engine = sfu,
) -> None:
    """dst = 2 ** (src * scale + bias); engine=vector is the polynomial form, six vector passes."""
    _refuse()


def log2(
    dst: Tile,
    src: Tile,
    *,
    scale: Value | None = None,
    bias: Value | None = None,
    row_sum: Tile | None = None,
) -> None:
    """dst = log2(src * scale + bias)."""
    _refuse()


def recip(
    dst: Tile,
    src: Tile,
    *,
    scale: Value | None = None,
    bias: Value | None = None,
    row_sum: Tile | None = None,
) -> None:
    """dst = 1 / (src * scale + bias)."""
    _refuse()


def rsqrt(
    dst: Tile,
    src: Tile,
    *,
    scale: Value | None = None,
    bias: Value | None = None,
    row_sum: Tile | None = None,
) -> None:
    """dst = 1 / sqrt(src * scale + bias)."""
    _refuse()


def tanh(
    dst: Tile,
    src: Tile,
    *,
    scale: Value | None = None,
    bias: Value | None = None,
    row_sum: Tile | None = None,
) -> None:
    """dst = tanh(src * scale + bias)."""
    _refuse()


def fence() -> None:
    """Wait until every engine of the core is idle and every transfer has completed."""
    _refuse()
