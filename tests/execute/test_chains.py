"""Compiled chains beside NumPy, one operation after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.execute import FloatDomain, chains, execute_kernel
from m890sim.execute.chains import (
    MASKS,
    ChainOperand,
    Operation,
    Segment,
    run_operation,
    segments_of,
)
from tests.execute.test_generated import program_of
from tests.execute.test_rounding import patterns
from tests.execute.texts import kernel_of, randoms
from tests.generators import random_inputs

RUN = import_module("m890sim.execute.run")
ARITY = {"copy": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "max": 2, "min": 2, "fma": 3}
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -3e-45, 3e38, 1, -1], np.float32)


@dataclass(eq=False)
class Tile:
    """A tile's memory of all lanes."""

    array: Any


@dataclass(frozen=True, eq=False)
class Place:
    """A piece of a tile, as `TileLanes` says it."""

    tile: Tile
    extent: tuple[int, int, int, int, int]

    @property
    def view(self) -> Any:
        r0, r1, step, c0, c1 = self.extent
        return self.tile.array[:, r0:r1:step, c0:c1]

    def operand(self) -> ChainOperand:
        return ChainOperand(self.view, self)  # type: ignore[arg-type]


def values(rng: np.random.Generator, *shape: int) -> Any:
    """Ordinary numbers, among them special ones."""
    found = (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)).astype(np.float32)
    special = rng.random(shape) < rng.choice([0.0, 0.02, 0.3])
    found[special] = rng.choice(SPECIAL, int(special.sum()))
    return found


def assert_alike(actual: Any, expected: Any) -> None:
    """The same bits, but for the payloads of NaNs and the signs of zeros."""
    np.testing.assert_array_equal(actual, expected)


def assert_same_bits(actual: Any, expected: Any) -> None:
    """The same bits, but for the payloads of NaNs."""
    same = actual.view(np.uint32) == expected.view(np.uint32)
    assert (same | (np.isnan(actual) & np.isnan(expected))).all()


def run_segments(operations: list[Operation]) -> list[Segment]:
    found = segments_of(operations)
    for segment in found:
        segment.run(FloatDomain())
    return found


def test_rounding_equals_the_cast_in_every_bit() -> None:
    drawn = patterns(16)
    tile = Tile(drawn[: len(drawn) // 24 * 24].reshape(4, 3, -1).copy())
    cols = tile.array.shape[2]
    with np.errstate(invalid="ignore"):
        expected = tile.array.astype(ml_dtypes.bfloat16).astype(np.float32)
    place = Place(tile, (0, 3, 1, 0, cols))
    run_segments([Operation("round", place.view, place, (place.operand(),))])  # type: ignore[arg-type]
    np.testing.assert_array_equal(tile.array.view(np.uint32), expected.view(np.uint32))


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from([*ARITY, "round", "row_max", "row_sum", *MASKS]),
    lanes=st.integers(1, 3),
    rows=st.integers(1, 40),
    cols=st.integers(1, 40) | st.integers(60, 140) | st.integers(250, 530),
)
def test_operation_equals_numpy(seed: int, name: str, lanes: int, rows: int, cols: int) -> None:
    rng = np.random.default_rng(seed)

    def piece(r: int, c: int) -> Place:
        step = int(rng.integers(1, 3))
        top, left, more = (int(n) for n in rng.integers(0, 3, 3))
        tile = Tile(values(rng, lanes, top + r * step + more, left + c + more))
        return Place(tile, (top, top + (r - 1) * step + 1, step, left, left + c))

    dst = piece(rows, 1 if name in ("row_max", "row_sum") else cols)
    settings: dict[str, int] = {}
    if name in MASKS:
        edges = rng.integers(-5, 600, 4).tolist()
        settings = dict(zip(("row", "col", "limit"), edges, strict=False))
        settings["group"] = int(rng.integers(1, 9))
        if name == "window_mask":
            settings["window"] = int(rng.integers(1, 50))
        operands = (ChainOperand(np.full((1, 1, 1), -np.inf, np.float32)),)
    elif name == "round":
        operands = (dst.operand(),)
    elif name in ("row_max", "row_sum"):
        operands = (piece(rows, cols).operand(),)
    else:
        chosen = []
        for _ in range(ARITY[name]):
            kind = rng.integers(0, 5)
            if kind == 0:
                chosen.append(ChainOperand(values(rng, 1, 1, 1)))
            elif kind == 1:
                chosen.append(dst.operand())
            else:
                shape = (rows if kind != 2 else 1, cols if kind != 3 else 1)
                chosen.append(piece(*shape).operand())
        operands = tuple(chosen)
    operation = Operation(name, dst.view, dst, operands, settings)  # type: ignore[arg-type]
    before = dst.tile.array.copy()
    with np.errstate(all="ignore"):
        run_operation(operation, FloatDomain())
        expected = dst.tile.array.copy()
        dst.tile.array[...] = before
        (segment,) = run_segments([operation])
    if segment.table is None:  # rows of a tile that is written are read by all rows
        assert any(o.place is not None and o.place.tile is dst.tile for o in operands)
    (assert_alike if name in ("max", "min", "row_max") else assert_same_bits)(
        dst.tile.array, expected
    )


@dataclass(eq=False)
class Tiles:
    """Three tiles that operations share."""

    rng: np.random.Generator
    tiles: list[Tile] = field(default_factory=list)

    def draw(self) -> list[Operation]:
        """Operations on pieces that overlap in every way."""
        rng = self.rng
        self.tiles = [Tile(values(rng, 2, 20, width)) for width in (24, 24, 1)]
        found = []
        for _ in range(int(rng.integers(2, 9))):
            rows = int(rng.choice([20, 20, 20, 7, 1]))
            dst = self.piece(rows, int(rng.choice([1, 8, 24])))
            name = str(rng.choice([*ARITY, "round", "row_max", "row_sum"]))
            cols = dst.view.shape[2]
            if name in ("row_max", "row_sum"):
                dst = self.piece(rows, 1)
                operands = (self.piece(rows, int(rng.choice([1, 8, 24]))).operand(),)
            elif name == "round":
                operands = (dst.operand(),)
            else:
                operands = tuple(
                    dst.operand()
                    if rng.random() < 0.3
                    else self.piece(
                        rows if rng.random() < 0.8 else 1, cols if rng.random() < 0.8 else 1
                    ).operand()
                    for _ in range(ARITY[name])
                )
            found.append(Operation(name, dst.view, dst, operands))  # type: ignore[arg-type]
        return found

    def piece(self, rows: int, cols: int) -> Place:
        fitting = [tile for tile in self.tiles if tile.array.shape[2] >= cols]
        tile = fitting[int(self.rng.integers(len(fitting)))]
        _, height, width = tile.array.shape
        top = int(self.rng.integers(0, height - rows + 1)) if self.rng.random() < 0.5 else 0
        left = int(self.rng.integers(0, width - cols + 1)) if self.rng.random() < 0.5 else 0
        return Place(tile, (top, top + rows, 1, left, left + cols))


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_chain_equals_its_operations_one_by_one(seed: int) -> None:
    drawn = Tiles(np.random.default_rng(seed))
    operations = drawn.draw()
    before = [tile.array.copy() for tile in drawn.tiles]
    with np.errstate(all="ignore"):
        for operation in operations:
            run_operation(operation, FloatDomain())
        expected = [tile.array.copy() for tile in drawn.tiles]
        for tile, array in zip(drawn.tiles, before, strict=True):
            tile.array[...] = array
        run_segments(operations)
    for tile, array in zip(drawn.tiles, expected, strict=True):
        # Which zero is the larger is not said, and division tells: infinities of either sign.
        np.testing.assert_array_equal(np.abs(tile.array), np.abs(array))


def test_operations_on_the_same_rows_run_as_one() -> None:
    rng = np.random.default_rng(0)
    scores, top = Tile(values(rng, 2, 8, 16)), Tile(values(rng, 2, 8, 1))
    s, m = Place(scores, (0, 8, 1, 0, 16)), Place(top, (0, 8, 1, 0, 1))
    operations = [
        Operation("row_max", m.view, m, (s.operand(),)),  # type: ignore[arg-type]
        Operation("sub", s.view, s, (s.operand(), m.operand())),  # type: ignore[arg-type]
        Operation("round", s.view, s, (s.operand(),)),  # type: ignore[arg-type]
    ]
    (segment,) = segments_of(operations)
    assert segment.table.shape[0] == 3


class Stepwise(FloatDomain):
    """The same numbers without chains."""


@pytest.mark.parametrize("start", range(0, 120, 40))
def test_chains_give_the_bits_of_steps(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RUN, "LEAST_ITEMS", 0)
    for seed in range(start, start + 40):
        program = program_of(seed)
        launch = (program.symbols, program.tables, program.scalars, random_inputs(program))
        expected = execute_kernel(program.kernel, *launch, domain=Stepwise())
        actual = execute_kernel(program.kernel, *launch)
        for name, found in expected.outputs.items():
            np.testing.assert_array_equal(actual.written[name], expected.written[name])
            np.testing.assert_array_equal(actual.outputs[name], found)


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16", "f8e4m3"])
def test_functions_and_products_in_parts(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernel_of(
        'x: Tensor["H", "N", "D"], w: Tensor["H", "D", "N"], z: Tensor["H", "N", "N"]',
        f"""
        for h in cores(H):
            a = sram(N, D, bf16)
            b = sram(D, N, bf16)
            e = sram(N, N, {dtype})
            o = sram(N, N, bf16)
            l = sram(N, 1, {dtype})
            t = sram(N, 1, f32)
            s = acc(N, N)
            load(a, x[h, :, :])
            load(b, w[h, :, :])
            fill(s, 0.25)
            for j in range(3):
                mul(s, s, 0.5)
                matmul(s, a, b, accumulate=True)
                row_max(t, s)
                mul(t, t, -1.0)
                exp(e, s, scale=0.5, bias=t, row_sum=l)
                recip(l, l, bias=0.125)
                mul(e, e, l)
                exp2(e[: N - j], e[j:], scale=0.5)
                limit_mask(s, limit=N - 1)
                tanh(s, s)
                copy(o, e)
                add(o, o, s)
            store(z[h, :, :], o)
        """,
    )
    monkeypatch.setattr(RUN, "LEAST_ITEMS", 0)
    launch = ({"N": 20, "D": 5, "H": 9}, {}, {}, {})
    inputs = {"x": randoms((9, 20, 5), "bf16"), "w": randoms((9, 5, 20), "bf16")}
    expected = execute_kernel(kernel, *launch[:3], inputs, domain=Stepwise()).outputs["z"]
    actual = execute_kernel(kernel, *launch[:3], inputs).outputs["z"]
    np.testing.assert_array_equal(actual, expected)
    monkeypatch.setattr(chains, "_fits", lambda operation: False)  # NumPy in the chains' order
    np.testing.assert_array_equal(
        execute_kernel(kernel, *launch[:3], inputs).outputs["z"], expected
    )
