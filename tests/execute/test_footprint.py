"""Footprints: who writes what, found for groups of items, beside a run item by item."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from m890sim.errors import ExecutionError, LimitError
from m890sim.execute import Footprint, execute_kernel, footprint
from m890sim.execute.compile import ItemCompiler
from m890sim.execute.domain import Domain
from m890sim.execute.footprint import one_by_one
from m890sim.execute.launch import make_launch
from m890sim.execute.sample import ShapeDomain, addresses_only
from m890sim.kernel import ir
from m890sim.language import DEFAULT_LIMITS, Limits
from tests.execute.test_generated import PlainDomain, full_run, program_of
from tests.execute.test_items import CHAIN
from tests.execute.texts import TWO_PHASES, kernel_of, randoms
from tests.generators import random_inputs

SYMBOLS = {"T": 29, "H": 3, "D": 8}
INPUTS = {n: randoms((29, 3, 8), "bf16", seed) for seed, n in enumerate("qkv")}


def slowly(kernel: ir.Kernel, *launch: Any) -> Footprint:
    """The footprint, item by item."""
    shadow = cast(Domain, ShapeDomain())
    made = make_launch(kernel, *launch, shadow)
    stripped = addresses_only(kernel, outputs=True)
    return one_by_one(ItemCompiler(stripped, made, shadow, DEFAULT_LIMITS).program())


def test_groups_agree_with_items_one_by_one_on_generated_programs() -> None:
    rng = np.random.default_rng(0)
    dependent = 0
    for seed in range(100):
        program = program_of(seed)
        launch = (program.symbols, program.tables, program.scalars, random_inputs(program))
        actual = footprint(program.kernel, *launch)
        expected = slowly(program.kernel, *launch)
        assert actual.items == expected.items
        full = full_run(seed)
        for name, written in expected.written.items():
            np.testing.assert_array_equal(actual.written[name], written)
            np.testing.assert_array_equal(full.written[name], written)
        for _ in range(3):
            rows = {
                name: rng.random(written.shape[:-1]) < 0.3
                for name, written in expected.written.items()
            }
            todo = actual.items_for(rows)
            assert todo == expected.items_for(rows), program.describe()
            part = execute_kernel(program.kernel, *launch, domain=PlainDomain(), todo=todo)
            for name, chosen in rows.items():
                np.testing.assert_array_equal(
                    part.outputs[name][chosen], full.outputs[name][chosen], program.describe()
                )
            dependent += sum(map(len, todo[:-1]))
    assert dependent > 100


def test_items_for_rows_of_attention_through_scratch() -> None:
    found = footprint(TWO_PHASES, SYMBOLS, {}, {"scale": 0.5}, INPUTS)
    assert found.items == (12, 12)
    assert found.written["o"].all()
    rows = np.zeros((29, 3), bool)
    rows[9, 2] = True  # block 1 of head 2
    assert found.items_for({"o": rows}) == [[9], [9]]
    assert found.items_for({}) == [[], []]
    done = execute_kernel(
        TWO_PHASES, SYMBOLS, {}, {"scale": 0.5}, INPUTS, todo=found.items_for({"o": rows})
    )
    assert np.argwhere(done.written["o"].all(axis=-1)).tolist() == [[n, 2] for n in range(8, 16)]


def test_items_for_follows_tables_over_phases() -> None:
    rng = np.random.default_rng(3)
    t, u = rng.integers(0, 9, 9), rng.integers(0, 9, 9)
    launch = ({"N": 9, "D": 4}, {"t": t, "u": u}, {}, {"x": randoms((9, 4))})
    found = footprint(CHAIN, *launch)
    for item in range(9):
        rows = np.arange(9) == item
        assert found.items_for({"z": rows}) == [sorted({t[u[item]], item}), [u[item]], [item]]


def test_a_last_phase_hides_no_earlier_one() -> None:
    kernel = kernel_of(
        'x: Tensor["N", "D", f32], z: Tensor["N", "D", f32]',
        """
        for i in cores(N):
            a = sram(1, D, f32)
            load(a, x[i, :])
            store(z[i, :], a)
        for i in cores(2):
            if i == 1:
                b = sram(1, 1, f32)
                fill(b, 0.0)
                store(z[0, :1], b)
        """,
    )
    found = footprint(kernel, {"N": 5, "D": 4}, {}, {}, {"x": randoms((5, 4))})
    assert found.items_for({"z": np.arange(5) == 0}) == [[0], [1]]
    assert found.items_for({"z": np.arange(5) == 3}) == [[3], []]


def of(params: str, body: str, symbols: dict[str, int], **rest: Any) -> Footprint:
    tables = rest.pop("tables", {})
    inputs = {"x": randoms((symbols["N"], 4))}
    return footprint(kernel_of(params, body), symbols, tables, {}, inputs, **rest)


X_AND_Z = 'x: Tensor["N", 4, f32], z: Tensor["N", 4, f32]'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("store(z[i // 2, :], a)", r'E413 .*writes "z" at \[0, 0\].*work item i=0'),
        ("store(z[i + 1, :], a)", r"E404 store: index 6 into dimension 0"),
        ("store(z[i:1, :], a[: 1 - i])", r"E405 .*negative extent -1"),
        (
            "if i > 0:\n        store(h[i, :], a)\n    load(a, h[i, :])\n    store(z[i, :], a)",
            r'E402 load: HBM scratch "h" is read at \[0, 0\]',
        ),
        ("store(h[i, :], a)\n    load(a, h[N - 1 - i, :])\n    store(z[i, :], a)", r"E402|E414"),
        ("store(h[i, :], a)\n    load(a, h[i // 2, :])\n    store(z[i, :], a)", r"E414"),
    ],
)
def test_conflicts_and_addresses_are_found(body: str, message: str) -> None:
    text = f"""
h = hbm(N, 4, f32)
for i in cores(N):
    a = sram(1, 4, f32)
    load(a, x[i, :])
    {body}
"""
    if "a[:" in body:
        text = text.replace("sram(1,", "sram(8,").replace("load(a,", "load(a[:1],")
    with pytest.raises(ExecutionError, match=message):
        of(X_AND_Z, text, {"N": 6})


def test_two_readers_and_a_writer_of_one_element_are_found() -> None:
    text = """
h = hbm(N, 4, f32)
for i in cores(N):
    a = sram(1, 4, f32)
    load(a, x[i, :])
    store(h[i, :], a)
for i in cores(N):
    a = sram(1, 4, f32)
    load(a, h[0, :])
    if i == N - 1:
        store(h[0, :], a)
    store(z[i, :], a)
"""
    with pytest.raises(ExecutionError, match="E414"):
        of(X_AND_Z, text, {"N": 6})


def test_guards_with_and_are_no_errors() -> None:
    text = """
for i in cores(N + 3):
    if i < N and t[i] < 100:
        a = sram(1, 4, f32)
        load(a, x[i, :])
        store(z[i, :], a)
"""
    params = 'x: Tensor["N", 4, f32], z: Tensor["N", 4, f32], t: Table["N"]'
    assert of(params, text, {"N": 6}, tables={"t": range(6)}).written["z"].all()


def test_work_is_limited() -> None:
    text = """
for i in cores(N):
    for j in range(1000):
        a = sram(1, 4, f32)
        load(a, x[i, :])
        store(z[i, :], a)
"""
    with pytest.raises(LimitError, match="E505"):
        of(X_AND_Z, text, {"N": 6}, limits=Limits(run_instructions=5_000))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ({"y": np.zeros(29, bool)}, ValueError, "'y' is no output of this launch; its outputs: o"),
        ({"o": np.zeros(29, bool)}, ValueError, r"must have shape \(29, 3\), not \(29,\)"),
        ({"o": np.zeros((29, 3))}, TypeError, "must be a bool array, not float64"),
    ],
)
def test_rows_that_do_not_fit(rows: Any, error: type[Exception], message: str) -> None:
    found = footprint(TWO_PHASES, SYMBOLS, {}, {"scale": 0.5}, INPUTS)
    with pytest.raises(error, match=message):
        found.items_for(rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"todo": [[0]]}, "todo must hold 2 lists, one a phase, not 1"),
        ({"todo": [[0], [12]]}, "items must lie between 0 and 11, not 12 to 12"),
        ({"todo": [[0], [0]], "items": 3}, "give items or todo, not both"),
    ],
)
def test_todo_that_does_not_fit(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        execute_kernel(TWO_PHASES, SYMBOLS, {}, {"scale": 0.5}, INPUTS, **given)
