"""Chains of elementwise instructions and row reductions on float32 tiles, compiled.

The only numba file of execute. A chain is a table of operations; the compiled function takes a few
rows through all of them while they are in the first-level cache. Each operation rounds exactly once
as NumPy's does: the vectors are written out in LLVM's terms, so nothing is contracted or reordered,
and in-place operations are safe. Sums are in NumPy's pairwise order.

A user's first run compiles this file; loops are emitted by one function for all operations to keep
that short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped
from numba.extending import intrinsic

cgutils: Any = untyped  # it has no annotations

# Operations. COPY to SUB_ROUND are elementwise on the operands a, b, c; ROUND is to bf16.
COPY, ROUND, ADD, SUB, MUL, DIV, MAX, MIN, FMA = range(9)
ROW_MAX, ROW_SUM, CAUSAL, WINDOW = range(9, 13)
CODES = {
    "copy": COPY,
    "round": ROUND,
    "add": ADD,
    "sub": SUB,
    "mul": MUL,
    "div": DIV,
    "max": MAX,
    "min": MIN,
    "fma": FMA,
    "row_max": ROW_MAX,
    "row_sum": ROW_SUM,
    "causal_mask": CAUSAL,
    "window_mask": WINDOW,
    "limit_mask": CAUSAL,
}
# A row of a chain's table: the operation, its columns, a mask's edge, then four numbers for each of
# dst, a, b, c: address, bytes to the next lane, bytes to the next row, bytes between columns.
OP, COLS, SHIFT, GROUP, DST, A, B, C = 0, 1, 2, 3, 4, 8, 12, 16
WIDTH = 20
_ROWS = 16  # that a chain takes through all its operations at once
_LANES = 16  # float32s of a vector
_SUMS = 8  # partial sums of NumPy's pairwise summation, and the most that it adds up without a cut
_UNCUT = 128

_FLOAT, _WORD = ir.FloatType(), ir.IntType(64)


def _kind(width: int) -> Any:
    return _FLOAT if width == 1 else ir.VectorType(_FLOAT, width)


def _constant(kind: Any, value: Any) -> Any:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)
    return ir.Constant(kind, value)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=4)


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=4)


def _larger(builder: Any, a: Any, b: Any, less: str = ">") -> Any:
    """The larger; NaN where either is."""
    first = builder.fcmp_ordered(less, a, b)
    return builder.select(builder.or_(first, builder.fcmp_unordered("uno", a, a)), a, b)


def _smaller(builder: Any, a: Any, b: Any) -> Any:
    return _larger(builder, a, b, "<")


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once. llvmlite's own `fma` takes no vectors."""
    kind = a.type
    suffix = f"v{kind.count}f32" if isinstance(kind, ir.VectorType) else "f32"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.{suffix}"
    )
    return builder.call(function, [a, b, c])


def _bfloat(builder: Any, a: Any) -> Any:
    """To nearest bf16, ties to even; NaNs become the quiet one of their sign, as ml_dtypes does."""
    whole: Any = ir.IntType(32)
    if isinstance(a.type, ir.VectorType):
        whole = ir.VectorType(whole, a.type.count)
    bits = builder.bitcast(a, whole)
    odd = builder.and_(builder.lshr(bits, _constant(whole, 16)), _constant(whole, 1))
    up = builder.add(builder.add(bits, odd), _constant(whole, 0x7FFF))
    sign = builder.and_(bits, _constant(whole, 0x80000000))
    quiet = builder.or_(sign, _constant(whole, 0x7FC00000))
    rounded = builder.and_(up, _constant(whole, 0xFFFF0000))
    nan = builder.fcmp_unordered("uno", a, a)
    return builder.bitcast(builder.select(nan, quiet, rounded), a.type)


_EMIT: dict[int, tuple[int, Callable[..., Any]]] = {  # operands, and what is done with them
    COPY: (1, lambda builder, a: a),
    ROUND: (1, _bfloat),
    ADD: (2, lambda builder, a, b: builder.fadd(a, b)),
    SUB: (2, lambda builder, a, b: builder.fsub(a, b)),
    MUL: (2, lambda builder, a, b: builder.fmul(a, b)),
    DIV: (2, lambda builder, a, b: builder.fdiv(a, b)),
    MAX: (2, _larger),
    MIN: (2, _smaller),
    FMA: (3, _fused),
}


@contextmanager
def _each(builder: Any, start: Any, stop: Any, by: int) -> Iterator[Any]:
    """A loop while a whole step fits: index from start below stop."""
    with cgutils.for_range_slice(builder, start, stop, ir.Constant(_WORD, by), _WORD) as (at, _):
        yield at


def _whole(builder: Any, count: Any, width: int) -> Any:
    """The part of a count that whole vectors take."""
    return builder.and_(count, ir.Constant(_WORD, -width))


def _at(builder: Any, address: Any, index: Any, step: Any) -> Any:
    return builder.add(address, builder.mul(index, step))


def _elementwise_of(
    typing_context: Any,
    op: Any,
    rows: Any,
    cols: Any,
    dst: Any,
    by: Any,
    a: Any,
    step_a: Any,
    by_a: Any,
    b: Any,
    step_b: Any,
    by_b: Any,
    c: Any,
    step_c: Any,
    by_c: Any,
) -> Any:
    """dst[r, i] = op(a[r, i], b[r, i], c[r, i]), row after row, a vector at a time.

    by, by_a, by_b, by_c: bytes between rows. step_a, step_b, step_c: bytes between columns, 4, or
    0: one element for the whole row. Operands that the operation has not are not looked at.
    """
    signature = types.void(*[types.int64] * 14)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        op, rows, cols, dst, by, *rest = args
        vector, zero, four = _kind(_LANES), ir.Constant(_WORD, 0), ir.Constant(_WORD, 4)
        whole = _whole(builder, cols, _LANES)
        copies = [cgutils.alloca_once(builder, vector) for _ in range(3)]
        done = builder.append_basic_block("done")
        switch = builder.switch(op, done)
        for code, (operands, emit) in _EMIT.items():
            block = builder.append_basic_block(f"op{code}")
            switch.add_case(ir.Constant(_WORD, code), block)
            builder.position_at_end(block)
            with _each(builder, zero, rows, 1) as row:
                target = _at(builder, dst, row, by)
                pieces = []
                for n in range(operands):
                    address, step, more = rest[3 * n : 3 * n + 3]
                    place = _at(builder, address, row, more)
                    builder.store(_splat(builder, place), copies[n])
                    one = builder.icmp_signed("==", step, zero)
                    room = builder.ptrtoint(copies[n], _WORD)
                    pieces.append((builder.select(one, room, place), step))
                for width, start, stop in ((_LANES, zero, whole), (1, whole, cols)):
                    with _each(builder, start, stop, width) as at:
                        values = [
                            _load(builder, _at(builder, place, at, step), _kind(width))
                            for place, step in pieces
                        ]
                        _store(builder, emit(builder, *values), _at(builder, target, at, four))
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, generate


def _splat(builder: Any, source: Any) -> Any:
    """A vector of copies of one element."""
    number = ir.IntType(32)
    one = builder.insert_element(
        ir.Constant(_kind(_LANES), ir.Undefined),
        _load(builder, source, _FLOAT),
        ir.Constant(number, 0),
    )
    places = ir.Constant(ir.VectorType(number, _LANES), [0] * _LANES)
    return builder.shuffle_vector(one, one, places)


def _fold_of(typing_context: Any, op: Any, source: Any, count: Any) -> Any:
    """The largest element (op ROW_MAX), or the sum of at most _UNCUT in NumPy's order."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        op, source, count = args
        result = cgutils.alloca_once(builder, _FLOAT)
        four = ir.Constant(_WORD, 4)

        def fold(width: int, empty: float, combine: Callable[[Any, Any], Any]) -> None:
            kind = _kind(width)
            whole = _whole(builder, count, width)
            builder.store(ir.Constant(_FLOAT, empty), result)
            with builder.if_then(builder.icmp_signed(">", whole, ir.Constant(_WORD, 0))):
                parts = cgutils.alloca_once(builder, kind)
                builder.store(_load(builder, source, kind), parts)
                with _each(builder, ir.Constant(_WORD, width), whole, width) as at:
                    more = _load(builder, _at(builder, source, at, four), kind)
                    builder.store(combine(builder.load(parts), more), parts)
                values = builder.load(parts)
                half = 1
                while half < width:  # neighbours first: ((0 1)(2 3))((4 5)(6 7))
                    number = ir.IntType(32)
                    places = [min(n + half, width - 1) for n in range(width)]
                    moved = builder.shuffle_vector(
                        values, values, ir.Constant(ir.VectorType(number, width), places)
                    )
                    values = combine(values, moved)
                    half *= 2
                first = builder.extract_element(values, ir.Constant(ir.IntType(32), 0))
                builder.store(first, result)
            with _each(builder, whole, count, 1) as at:
                more = _load(builder, _at(builder, source, at, four), _FLOAT)
                builder.store(combine(builder.load(result), more), result)

        is_max = builder.icmp_signed("==", op, ir.Constant(_WORD, ROW_MAX))
        with builder.if_else(is_max) as (then, otherwise):
            with then:
                fold(_LANES, float("-inf"), lambda a, b: _larger(builder, a, b))
            with otherwise:
                fold(_SUMS, -0.0, builder.fadd)
        return builder.load(result)

    return types.float32(types.int64, types.int64, types.int64), generate


def _put_of(typing_context: Any, target: Any, value: Any) -> Any:
    """Write one element."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _store(builder, args[1], args[0])
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), generate


_elementwise: Any = intrinsic(_elementwise_of)
_fold: Any = intrinsic(_fold_of)
_put: Any = intrinsic(_put_of)

_OPTIONS: Any = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "boundscheck": False,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}


@numba.njit("float32(int64, int64)", **_OPTIONS)
def _row_sum(source: int, count: int) -> Any:
    """The sum of a row in NumPy's order: halves, down to pieces that are added up at once."""
    if count <= _UNCUT:
        total = _fold(ROW_SUM, source, count)
        return total
    half = count // 2
    half -= half % _SUMS
    total = _row_sum(source, half) + _row_sum(source + 4 * half, count - half)
    return total


@numba.njit("void(int64[:, ::1], int64, int64)", **_OPTIONS)
def run_chain(table: np.ndarray[Any, np.dtype[np.int64]], lanes: int, rows: int) -> None:
    """Run the operations of a chain's table on all lanes and rows.

    Row r of every operation reads and writes row r alone, and its operands are either the elements
    that it writes or lie apart from them.
    """
    for lane in range(lanes):
        for first in range(0, rows, _ROWS):
            last = min(rows, first + _ROWS)
            for k in range(table.shape[0]):
                op = table[k, OP]
                cols = table[k, COLS]
                by, by_a, by_b, by_c = (
                    table[k, DST + 2],
                    table[k, A + 2],
                    table[k, B + 2],
                    table[k, C + 2],
                )
                step_a, step_b, step_c = table[k, A + 3], table[k, B + 3], table[k, C + 3]
                dst = table[k, DST] + lane * table[k, DST + 1] + first * by
                a = table[k, A] + lane * table[k, A + 1] + first * by_a
                b = table[k, B] + lane * table[k, B + 1] + first * by_b
                c = table[k, C] + lane * table[k, C + 1] + first * by_c
                if op < ROW_MAX:
                    times = last - first
                    width = 4 * cols
                    if cols == 1:  # a column: one row where its elements are side by side
                        if by == 4 and (by_a | by_b | by_c) & ~4 == 0:
                            cols, times = times, 1
                            step_a, step_b, step_c = by_a, by_b, by_c
                    elif (
                        by == width
                        and by_a == width * (step_a // 4)
                        and by_b == width * (step_b // 4)
                        and by_c == width * (step_c // 4)
                    ):  # whole rows, and numbers
                        cols, times = cols * times, 1
                    _elementwise(
                        op, times, cols, dst, by, a, step_a, by_a, b, step_b, by_b, c, step_c, by_c
                    )
                elif op <= ROW_SUM:
                    for _ in range(first, last):
                        if op == ROW_MAX:
                            _put(dst, _fold(op, a, cols))
                        elif cols <= _UNCUT:  # NumPy adds up from 0.0: no sum is -0.0
                            _put(dst, _fold(op, a, cols) + np.float32(0.0))
                        else:
                            _put(dst, _row_sum(a, cols) + np.float32(0.0))
                        dst += by
                        a += by_a
                else:
                    shift, group = table[k, SHIFT], table[k, GROUP]
                    for r in range(first, last):
                        edge = min(max(shift + r // group + 1, 0), cols)
                        start = 0 if op == WINDOW else edge
                        end = edge if op == WINDOW else cols
                        for at in range(start, end):
                            _put(dst + 4 * at, -np.float32(np.inf))
                        dst += by
