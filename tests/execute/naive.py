"""A second, simple and slow interpreter of kernels: it walks the tree, element masks everywhere.

It shares nothing with `m890sim.execute` and does not read `isa.OPS[...].meaning`: what an
instruction does is written down again here. Only values, and `Undefined` where something unwritten
is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np

from m890sim.kernel import ir

DTYPES = {
    "f32": np.float32,
    "bf16": ml_dtypes.bfloat16,
    "f16": np.float16,
    "f8e4m3": ml_dtypes.float8_e4m3fn,
}
F32 = np.float32


class Undefined(Exception):
    """Something was read that nobody wrote."""


@dataclass
class Store:
    """A tile or a tensor: values, and which of them are written."""

    values: np.ndarray
    written: np.ndarray
    dtype: str


class Naive:
    """One run. `outputs` holds tensor -> Store afterwards."""

    def __init__(
        self,
        kernel: ir.Kernel,
        symbols: Mapping[str, int],
        tables: Mapping[str, Any],
        scalars: Mapping[str, float],
        tensors: Mapping[str, np.ndarray],
    ) -> None:
        self.tables = {name: [int(x) for x in table] for name, table in tables.items()}
        self.floats = {"inf": math.inf, "LOG2E": math.log2(math.e), "LN2": math.log(2), **scalars}
        names: dict[str, int] = {**kernel.tunables, **symbols}
        stores: dict[str, Store] = {}
        for param in kernel.params:
            if param.kind == "tensor":
                shape = tuple(self.integer(dim, names) for dim in param.dims)
                stores[param.name] = self.new(shape, param.dtype)
                if param.name in tensors:
                    stores[param.name].values[...] = tensors[param.name]
                    stores[param.name].written[...] = True
        self.parameters = dict(stores)
        self.outputs = {name: s for name, s in stores.items() if name not in tensors}
        for stmt in kernel.body:
            if isinstance(stmt, ir.Let):
                names[stmt.name] = self.integer(stmt.value, names)
            elif isinstance(stmt, ir.HbmDecl):
                shape = tuple(self.integer(dim, names) for dim in stmt.dims)
                stores[stmt.name] = self.new(shape, stmt.dtype)
            elif isinstance(stmt, ir.Cores):
                self.phase(stmt, names, stores)

    def new(self, shape: tuple[int, ...], dtype: str) -> Store:
        """A store in which nothing is written."""
        return Store(np.full(shape, 777.0, F32), np.zeros(shape, bool), dtype)

    def phase(self, stmt: ir.Cores, names: dict[str, int], stores: dict[str, Store]) -> None:
        for item in product(*(range(self.integer(e, names)) for e in stmt.extents)):
            here = dict(zip(stmt.vars, item, strict=True))
            self.block(stmt.body, {**names, **here}, dict(stores))

    # ---- scalars and control ---------------------------------------------------------------------

    def integer(self, expr: ir.Expr, names: Mapping[str, int]) -> int:
        if isinstance(expr, ir.Const):
            return int(expr.value)
        if isinstance(expr, ir.Name):
            return names[expr.id]
        if isinstance(expr, ir.TableRef):
            return self.tables[expr.table][self.integer(expr.index, names)]
        values = [self.integer(arg, names) for arg in expr.args]
        if expr.op == "not":
            return int(not values[0])
        a, b = values
        return {
            "+": lambda: a + b,
            "-": lambda: a - b,
            "*": lambda: a * b,
            "//": lambda: a // b,
            "%": lambda: a % b,
            "ceil_div": lambda: math.ceil(a / b) if abs(a) < 2**40 else -(-a // b),
            "min": lambda: min(a, b),
            "max": lambda: max(a, b),
            "<": lambda: int(a < b),
            "<=": lambda: int(a <= b),
            ">": lambda: int(a > b),
            ">=": lambda: int(a >= b),
            "==": lambda: int(a == b),
            "!=": lambda: int(a != b),
            "and": lambda: int(bool(a) and bool(b)),
            "or": lambda: int(bool(a) or bool(b)),
        }[expr.op]()

    def number(self, expr: Any) -> float:
        if isinstance(expr, ir.Const):
            return float(expr.value)
        if isinstance(expr, ir.Name):
            return self.floats[expr.id]
        a, b = (self.number(arg) for arg in expr.args)
        return {"+": a + b, "-": a - b, "*": a * b}[expr.op] if expr.op != "/" else a / b

    def block(
        self, body: tuple[ir.Stmt, ...], names: dict[str, int], stores: dict[str, Store]
    ) -> None:
        for stmt in body:
            if isinstance(stmt, ir.Let):
                names[stmt.name] = self.integer(stmt.value, names)
            elif isinstance(stmt, ir.TileDecl):
                shape = (self.integer(stmt.rows, names), self.integer(stmt.cols, names))
                stores[stmt.name] = self.new(shape, stmt.dtype)
            elif isinstance(stmt, ir.Loop):
                bounds = (self.integer(e, names) for e in (stmt.start, stmt.stop, stmt.step))
                for value in range(*bounds):
                    self.block(stmt.body, {**names, stmt.var: value}, dict(stores))
            elif isinstance(stmt, ir.If):
                chosen = stmt.then if self.integer(stmt.condition, names) else stmt.orelse
                self.block(chosen, dict(names), dict(stores))
            elif isinstance(stmt, ir.Stage):
                self.block(stmt.body, dict(names), dict(stores))
            elif isinstance(stmt, ir.Instr):
                self.instruction(stmt, names, stores)

    # ---- operands --------------------------------------------------------------------------------

    def positions(
        self, ref: Any, names: Mapping[str, int], stores: Mapping[str, Store]
    ) -> tuple[Store, np.ndarray]:
        """The store of a piece and the flat positions of its elements, as a 2-D array."""

        def span(piece: ir.Slice, extent: int) -> np.ndarray:
            start = 0 if piece.start is None else self.integer(piece.start, names)
            stop = extent if piece.stop is None else self.integer(piece.stop, names)
            step = 1 if piece.step is None else self.integer(piece.step, names)
            return np.arange(start, stop, step)

        if isinstance(ref, ir.TileRef):
            store = stores[ref.tile]
            rows, cols = (
                span(ref.rows, store.values.shape[0]),
                span(ref.cols, store.values.shape[1]),
            )
            where = rows[:, None] * store.values.shape[1] + cols[None, :]
            return store, where.T if ref.transposed else where
        store = stores[ref.tensor]
        where, kept = np.zeros((), np.int64), []
        for index, extent in zip(ref.index, store.values.shape, strict=True):
            if isinstance(index, ir.Slice):
                chosen = span(index, extent)
            elif isinstance(index, ir.Gather):
                start, stop = self.integer(index.start, names), self.integer(index.stop, names)
                chosen = np.array(self.tables[index.table][start:stop], np.int64)
            else:
                where = where * extent + self.integer(index, names)
                continue
            kept.append(len(chosen))
            where = where[..., None] * extent + chosen
        if not kept:
            kept = [1]
        return store, where.reshape(math.prod(kept[:-1]), kept[-1])

    def instruction(self, stmt: ir.Instr, names: dict[str, int], stores: dict[str, Store]) -> None:
        def read(ref: Any) -> np.ndarray:
            if not isinstance(ref, (ir.TileRef, ir.TensorRef)):
                return np.full((1, 1), self.number(ref), F32)
            store, where = self.positions(ref, names, stores)
            if not store.written.reshape(-1)[where].all():
                raise Undefined(stmt.op)
            return store.values.reshape(-1)[where]

        def write(ref: Any, values: np.ndarray) -> None:
            store, where = self.positions(ref, names, stores)
            rounded = np.asarray(values, F32).astype(DTYPES[store.dtype]).astype(F32)
            store.values.reshape(-1)[where] = np.broadcast_to(rounded, where.shape)
            store.written.reshape(-1)[where] = True

        def setting(name: str, default: int) -> int:
            value = stmt.keyword(name)
            return default if value is None else self.integer(value, names)

        if stmt.op == "fence":
            return
        dst, *rest = stmt.operands
        if stmt.op.endswith("_mask"):
            write(dst, _mask(stmt.op, read(dst), setting))
            return
        x = [read(ref) for ref in rest]
        if stmt.op == "matmul":
            product_ = plain_matmul(x[0], x[1])
            write(dst, read(dst) + product_ if stmt.keyword("accumulate") else product_)
            return
        if stmt.op in FUNCTIONS:
            value = x[0]
            for keyword, apply in (("scale", np.multiply), ("bias", np.add)):
                ref = stmt.keyword(keyword)
                value = value if ref is None else apply(value, read(ref))
            value = FUNCTIONS[stmt.op](value)
            write(dst, value)
            if stmt.keyword("row_sum") is not None:
                write(stmt.keyword("row_sum"), value.sum(axis=1, keepdims=True))
            return
        write(dst, PLAIN[stmt.op](*x))


def plain_matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b in float32, summed in the order of k: no library's kernels, so the same everywhere."""
    total = np.zeros((a.shape[-2], b.shape[-1]), F32)
    for k in range(a.shape[-1]):
        total = total + a[..., :, k : k + 1] * b[..., k : k + 1, :]
    return total


def _mask(op: str, values: np.ndarray, setting: Any) -> np.ndarray:
    values = values.copy()
    for r, c in np.ndindex(values.shape):
        if op == "limit_mask":
            hidden = c >= setting("limit", 0)
        else:
            row = setting("row", 0) + r // setting("group", 1)
            col = setting("col", 0) + c
            hidden = col > row if op == "causal_mask" else col <= row - setting("window", 0)
        if hidden:
            values[r, c] = -np.inf
    return values


def exact_fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    a, b, c = np.broadcast_arrays(a, b, c)
    out = np.empty(a.shape, F32)
    for at in np.ndindex(a.shape):
        x, y, z = float(a[at]), float(b[at]), float(c[at])
        if not all(map(math.isfinite, (x, y, z))):
            out[at] = F32(x * y + z)
            continue
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        out[at] = nearest_f32(exact) if exact else F32(x * y + z)
    return out


def nearest_f32(exact: Any) -> np.float32:
    """The float32 nearest to a rational, ties to even."""
    guess = F32(float(exact))
    if not np.isfinite(guess):
        return guess
    around = {
        float(F32(g))
        for g in (guess, np.nextafter(guess, F32(-np.inf)), np.nextafter(guess, F32(np.inf)))
    }
    finite = [g for g in around if math.isfinite(g)]
    return F32(
        min(finite, key=lambda g: (abs(Fraction(g) - exact), int(F32(g).view(np.uint32)) & 1))
    )


# What every instruction but matmul, the masks and the fence does to the arrays that it reads.
FUNCTIONS = {
    "exp": np.exp,
    "exp2": np.exp2,
    "log2": np.log2,
    "recip": lambda a: F32(1) / a,
    "rsqrt": lambda a: F32(1) / np.sqrt(a),
    "tanh": np.tanh,
}
PLAIN = {
    "load": lambda a: a,
    "store": lambda a: a,
    "copy": lambda a: a,
    "fill": lambda a: a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": np.maximum,
    "min": np.minimum,
    "fma": exact_fma,
    "row_max": lambda a: a.max(axis=1, keepdims=True, initial=-np.inf),
    "row_sum": lambda a: a.sum(axis=1, keepdims=True),
    "col_max": lambda a: a.max(axis=0, keepdims=True, initial=-np.inf),
    "col_sum": lambda a: a.sum(axis=0, keepdims=True),
    "transpose": lambda a: a.T,
}
