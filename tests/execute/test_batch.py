"""Runs in batches beside runs item by item."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from m890sim.errors import ExecutionError
from m890sim.execute import batch, execute_kernel
from tests.execute.test_generated import PlainDomain, assert_same, program_of
from tests.execute.texts import kernel_of, randoms
from tests.generators import random_inputs

RUN = import_module("m890sim.execute.run")


@pytest.fixture(autouse=True)
def batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RUN, "LEAST_ITEMS", 0)


@pytest.mark.parametrize("start", range(0, 100, 20))
def test_batches_agree_with_items_one_by_one(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = 0
    original = batch.run_batches

    for seed in range(start, start + 20):
        program = program_of(seed)
        launch = (program.symbols, program.tables, program.scalars, random_inputs(program))
        expected = execute_kernel(program.kernel, *launch, domain=PlainDomain(), batches=False)

        def counted(*arguments: object) -> object:
            nonlocal ran
            found = original(*arguments)  # type: ignore[arg-type]
            ran += 1
            return found

        monkeypatch.setattr(RUN, "run_batches", counted)
        actual = execute_kernel(program.kernel, *launch, domain=PlainDomain())
        assert_same(actual, expected)
        assert actual.instructions == expected.instructions
        for name, values in expected.outputs.items():
            assert values.tobytes() == actual.outputs[name].tobytes() or np.isnan(values).any()
    assert ran == 20


def test_float_steps_agree_with_items_one_by_one() -> None:
    for seed in range(60):
        program = program_of(seed)
        launch = (program.symbols, program.tables, program.scalars, random_inputs(program))
        expected = execute_kernel(program.kernel, *launch, batches=False)
        actual = execute_kernel(program.kernel, *launch)
        assert actual.instructions == expected.instructions
        for name, values in expected.outputs.items():
            np.testing.assert_array_equal(actual.written[name], expected.written[name])
            np.testing.assert_allclose(actual.outputs[name], values, rtol=2e-2, atol=1e-5)


HEADS = 'x: Tensor["N", "H", "D"], z: Tensor["N", "H", "D"], t: Table["H"]'


@pytest.mark.parametrize("index", ["h", "h // 2", "h // 4", "t[h]", "H - 1 - h", "(h + 1) // 2"])
def test_pieces_of_several_heads_are_loaded_and_stored_alike(index: str) -> None:
    kernel = kernel_of(
        HEADS,
        f"""
        for h in cores(H):
            a = sram(N, D, bf16)
            b = sram(N, D, bf16)
            load(a, x[:, {index}, :])
            add(b, a, a)
            store(z[:, h, :], b)
        """,
    )
    x = randoms((5, 8, 4), "bf16")
    launch = ({"N": 5, "H": 8, "D": 4}, {"t": [3, 0, 0, 7, 1, 2, 6, 5]}, {}, {"x": x})
    expected = execute_kernel(kernel, *launch, batches=False).outputs["z"]
    np.testing.assert_array_equal(execute_kernel(kernel, *launch).outputs["z"], expected)


def test_rows_of_an_earlier_and_longer_load_stay() -> None:
    kernel = kernel_of(
        HEADS,
        """
        for h in cores(H):
            a = sram(N, D, bf16)
            b = sram(N, D, bf16)
            for j in range(2):
                load(a[: N - 2 * j], x[2 * j :, h, :])
            copy(b, a)
            store(z[:, h, :], b)
        """,
    )
    x = randoms((6, 4, 4), "bf16")
    launch = ({"N": 6, "H": 4, "D": 4}, {"t": range(4)}, {}, {"x": x})
    expected = np.concatenate([x[2:], x[4:]])
    np.testing.assert_array_equal(execute_kernel(kernel, *launch).outputs["z"], expected)


def test_an_error_in_one_lane_is_told_as_item_by_item() -> None:
    kernel = kernel_of(
        HEADS,
        """
        for h in cores(H):
            a = sram(N, D, bf16)
            load(a, x[:, t[h], :])
            store(z[:, h, :], a)
        """,
    )
    x = randoms((6, 4, 4), "bf16")
    launch = ({"N": 6, "H": 4, "D": 4}, {"t": [0, 1, 4, 2]}, {}, {"x": x})
    with pytest.raises(ExecutionError) as single:
        execute_kernel(kernel, *launch, batches=False)
    with pytest.raises(ExecutionError) as batched:
        execute_kernel(kernel, *launch)
    assert str(batched.value) == str(single.value)
    assert "work item h=2" in str(batched.value)


def test_a_tile_that_shows_a_tensor_is_loaded_again_in_another_way() -> None:
    kernel = kernel_of(
        HEADS,
        """
        for h in cores(H):
            a = sram(N, D, bf16)
            c = sram(N, D, bf16)
            b = sram(N, D, bf16)
            load(a, x[:, h, :])
            copy(b, a)
            load(a, x[:, h // 2, :])
            add(b, b, a)
            load(a, x[:, h, :])
            add(b, b, a)
            load(c, x[:, h, :])
            load(c[2:4], x[: 2, t[h], :])
            add(b, b, c)
            store(z[:, h, :], b)
        """,
    )
    x = randoms((6, 8, 4), "bf16")
    launch = ({"N": 6, "H": 8, "D": 4}, {"t": [3, 0, 0, 7, 1, 2, 6, 5]}, {}, {"x": x.copy()})
    expected = execute_kernel(kernel, *launch, batches=False).outputs["z"]
    np.testing.assert_array_equal(execute_kernel(kernel, *launch).outputs["z"], expected)
    np.testing.assert_array_equal(launch[3]["x"], x)
