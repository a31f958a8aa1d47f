"""Running some of the work items, and what a run of several phases gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from m890sim.errors import ExecutionError
from m890sim.execute import execute_kernel, run_kernel
from m890sim.execute.sample import addresses_only
from m890sim.kernel import ir
from tests.execute.texts import TWO_PHASES, attention, kernel_of, randoms

SYMBOLS = {"T": 29, "H": 3, "D": 8}
INPUTS = {n: randoms((29, 3, 8), "bf16", seed) for seed, n in enumerate("qkv")}
BLOCKS = 4  # row blocks of a head


def run(items: Any = None, **rest: Any) -> Any:
    return execute_kernel(TWO_PHASES, SYMBOLS, {}, {"scale": 0.5}, INPUTS, items=items, **rest)


def test_two_phases_give_attention() -> None:
    o = run_kernel(TWO_PHASES, SYMBOLS, {}, {"scale": 0.5}, INPUTS)["o"]
    expected = attention(**INPUTS, scale=0.5)
    assert np.linalg.norm(o - expected) < 0.005 * np.linalg.norm(expected)


def test_full_run_runs_every_item() -> None:
    done = run()
    assert [list(items) for items in done.items] == [list(range(12))] * 2
    assert done.written["o"].all()
    assert done.outputs.keys() == {"o"}


@pytest.mark.parametrize(
    "chosen", [[0], [5], [11], [2, 7], [7, 2, 2], np.array([4]), range(12), []]
)
def test_items_by_number_run_and_what_they_read(chosen: Any) -> None:
    full, part = run(), run(chosen)
    numbers = sorted(set(chosen))
    # An item reads the scores that the item of the same number wrote, and no others.
    assert [list(items) for items in part.items] == [numbers, numbers]
    rows = np.zeros((29, 3), bool)
    for n in numbers:
        rows[n % BLOCKS * 8 : n % BLOCKS * 8 + 8, n // BLOCKS] = True
    np.testing.assert_array_equal(part.written["o"], np.broadcast_to(rows[:, :, None], (29, 3, 8)))
    np.testing.assert_array_equal(part.outputs["o"][rows], full.outputs["o"][rows])
    assert np.isnan(part.outputs["o"][~rows]).all()


def test_items_as_a_count_and_as_a_share() -> None:
    assert len(run(5).items[-1]) == 5
    assert len(run(500).items[-1]) == 12
    assert len(run(0.25).items[-1]) == 3
    assert len(run(0.001).items[-1]) == 1
    assert len(run(1.0).items[-1]) == 12


def test_the_seed_decides_the_draw() -> None:
    assert list(run(4, seed=1).items[-1]) == list(run(4, seed=1).items[-1])
    assert len({tuple(run(4, seed=seed).items[-1]) for seed in range(5)}) > 1


@pytest.mark.parametrize("items", [0, -1, 0.0, 1.5, [12], [-1]])
def test_items_that_do_not_exist(items: Any) -> None:
    with pytest.raises(ValueError, match="items"):
        run(items)


@pytest.mark.parametrize("items", [True, "3", object()])
def test_items_of_a_wrong_type(items: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        run(items)


CHAIN = kernel_of(
    'x: Tensor["N", "D", f32], z: Tensor["N", "D", f32], t: Table["N"], u: Table["N"]',
    """
    h = hbm(N, D, f32)
    g = hbm(N, D, f32)
    for i in cores(N):
        a = sram(1, D, f32)
        load(a, x[i, :])
        store(h[i, :], a)
    for i in cores(N):
        a = sram(1, D, f32)
        load(a, h[t[i : i + 1], :])
        add(a, a, 1.0)
        store(g[i, :], a)
    for i in cores(N):
        a = sram(1, D, f32)
        b = sram(1, D, f32)
        load(a, g[u[i : i + 1], :])
        load(b, h[i, :])
        add(a, a, b)
        store(z[i, :], a)
    """,
)


def test_items_of_earlier_phases_are_found_through_tables_and_phases() -> None:
    rng = np.random.default_rng(3)
    t, u = rng.integers(0, 9, 9), rng.integers(0, 9, 9)
    x = randoms((9, 4))
    symbols = {"N": 9, "D": 4}
    full = execute_kernel(CHAIN, symbols, {"t": t, "u": u}, {}, {"x": x})
    np.testing.assert_array_equal(full.outputs["z"], (x[t] + np.float32(1))[u] + x)
    for item in range(9):
        part = execute_kernel(CHAIN, symbols, {"t": t, "u": u}, {}, {"x": x}, items=[item])
        assert list(part.items[2]) == [item]
        assert list(part.items[1]) == [u[item]]
        assert list(part.items[0]) == sorted({t[u[item]], item})
        np.testing.assert_array_equal(part.outputs["z"][item], full.outputs["z"][item])


def test_addresses_only_keeps_what_moves_scratch() -> None:
    ops = [s.op for s in ir.walk(addresses_only(TWO_PHASES).body) if isinstance(s, ir.Instr)]
    assert ops == ["fill", "store", "load"]


def test_sampled_runs_trap_on_scratch_that_nobody_writes() -> None:
    kernel = kernel_of(
        'x: Tensor["N", "D", f32], z: Tensor["N", "D", f32]',
        """
        h = hbm(N, D, f32)
        for i in cores(N - 1):
            a = sram(1, D, f32)
            load(a, x[i, :])
            store(h[i, :], a)
        for i in cores(N):
            a = sram(1, D, f32)
            load(a, h[i, :])
            store(z[i, :], a)
        """,
    )
    symbols, inputs = {"N": 5, "D": 2}, {"x": randoms((5, 2))}
    assert execute_kernel(kernel, symbols, {}, {}, inputs, items=[3]).written["z"].sum() == 2
    with pytest.raises(ExecutionError, match=r'E402 .*"h" is read at \[4, 0\]'):
        execute_kernel(kernel, symbols, {}, {}, inputs, items=[4])
