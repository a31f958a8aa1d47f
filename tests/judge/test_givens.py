"""Inputs and right outputs that the judge keeps."""

from __future__ import annotations

import numpy as np
import pytest

from m890sim.execute import FloatDomain
from m890sim.judge import evaluate
from m890sim.judge.gate_inputs import Givens, Store
from m890sim.judge.rows import draw_rows
from m890sim.workloads import get_task
from m890sim.workloads.inputs import is_known_bf16
from m890sim.workloads.inputs.draft import Draft

TASK = get_task("vector_add")
CASES = TASK.cases


def test_givens_are_those_of_the_case_and_cannot_be_changed() -> None:
    case = CASES[0]
    givens = Givens(case, 3, "peaked")
    fresh = case.make_inputs(3, "peaked")
    assert givens.inputs.keys() == fresh.keys()
    for name, value in fresh.items():
        np.testing.assert_array_equal(givens.inputs[name], value)
    np.testing.assert_array_equal(givens.expected(), case.oracle(fresh))
    rows = np.arange(case.rows) % 3 == 0  # type: ignore[attr-defined]
    chosen = Givens(case, 3, "peaked", rows)
    np.testing.assert_array_equal(chosen.expected_rows(rows), case.oracle(fresh, rows)[rows])
    np.testing.assert_array_equal(givens.expected_rows(rows), case.oracle(fresh)[rows])
    for array in (givens.inputs["x"], givens.expected()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0
    with pytest.raises(TypeError):
        givens.inputs["x"] = 0  # type: ignore[index]


def test_givens_are_made_once_while_there_is_room() -> None:
    store = Store(2**40)
    first = store.get(CASES[0], 0, "normal")
    others = [
        store.get(CASES[0], 1, "normal"),
        store.get(CASES[0], 0, "peaked"),
        store.get(CASES[1], 0, "normal"),
    ]
    assert store.get(CASES[0], 0, "normal") is first and first not in others
    assert first.expected() is first.expected()


def test_what_was_asked_for_longest_ago_makes_room() -> None:
    needed = [Givens(case, 0, "normal").n_bytes for case in CASES]
    outputs = CASES[0].oracle(CASES[0].make_inputs()).nbytes
    store = Store(sum(needed) + outputs - 1)
    kept = [store.get(case, 0, "normal") for case in CASES]
    assert store.get(CASES[0], 0, "normal") is kept[0]
    kept[0].expected()  # its outputs count from now on: no room for all
    store.get(CASES[2], 0, "normal")
    assert store.get(CASES[0], 0, "normal") is kept[0]
    assert store.get(CASES[1], 0, "normal") is not kept[1]
    small = Store(needed[0] - 1)
    assert small.get(CASES[0], 0, "normal") is not small.get(CASES[0], 0, "normal")


@pytest.mark.parametrize("room", [0, 10**5, 10**6, 10**9])
def test_store_counts_what_it_keeps(room: int) -> None:
    store, dice = Store(room), np.random.default_rng(5)
    for _ in range(60):
        case = CASES[int(dice.integers(len(CASES)))]
        rows = None if dice.integers(2) else np.arange(case.rows) < 3  # type: ignore[attr-defined]
        found = store.get(case, int(dice.integers(3)), "normal", rows)
        expected = sum(each.n_bytes for each in store._kept.values())
        assert store._total == expected <= room
        if dice.integers(2):
            _ = found.expected() if rows is None else found.expected_rows(rows)


def test_verdicts_do_not_depend_on_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(TASK.expert_name, TASK, seed=7)
    monkeypatch.setattr("m890sim.judge.check.STORE", Store(0))
    assert evaluate(TASK.expert_name, TASK, seed=7) == first


@pytest.mark.parametrize("name", ["extend-ragged", "decode-ragged"])
@pytest.mark.parametrize("distribution", ["normal", "ramp_up", "needle", "large_value"])
@pytest.mark.parametrize("count", [1, 40, None])
def test_lifted_inputs_are_those_of_the_domain(
    name: str, distribution: str, count: int | None
) -> None:
    case = get_task(name.split("-")[0]).case(name)
    rows = None if count is None else draw_rows(case, 0, distribution, count)
    givens = Givens(case, 0, distribution, rows)
    names = [name for name in givens.inputs if name in ("q", "k", "v", "k_cache", "v_cache")]
    assert any(is_known_bf16(givens.inputs[name]) for name in names)
    for dtype in ("bf16", "f16", "f32"):
        found = givens.lifted(dict.fromkeys(names, dtype))
        for each in names:
            expected = FloatDomain().lift(each, givens.inputs[each], dtype)
            np.testing.assert_array_equal(found[each], expected)


def test_what_is_bent_to_no_values_of_bf16_is_looked_at() -> None:
    case = get_task("extend").case("prefill-256")
    draft = Draft(case, 0, "normal")
    draft.change("k", lambda _piece, values: values * np.float32(1 + 2**-9))
    draft.change("v", lambda _piece, values: 2 * values)
    tensors = draft.tensors()
    assert [is_known_bf16(tensors[name]) for name in ("k", "v", "v_cache")] == [False, True, True]
    assert not is_known_bf16(tensors["v"].copy())
    assert not is_known_bf16(tensors["v"][:, :1])
    assert not is_known_bf16(case.make_inputs(0)["k"])
