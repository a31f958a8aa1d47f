"""Inputs: deterministic, rounded, poisoned where no token lies, hard as each distribution says."""

from __future__ import annotations

import zlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from m890sim.errors import TaskError
from m890sim.workloads import DISTRIBUTIONS, LEVELS, SUITE, TASKS, AttentionCase
from m890sim.workloads.inputs import draft
from m890sim.workloads.inputs.bends import block_tokens, needle_positions
from m890sim.workloads.inputs.climb import WINDOW, window_of
from m890sim.workloads.inputs.draft import Draft
from m890sim.workloads.inputs.stream import Stream, normal_table, round_bf16
from tests.level_cases import TINY_LEVELS

CASE = SUITE["extend"].case("extend-ragged")
GOLDEN = Path(__file__).parent / "golden" / "inputs.txt"
SMALL = [CASE, AttentionCase("small", "decode", (300, 65), (1, 1), 8, 2, 64, 16, True)]


def logits(case, inputs, sequence, head):
    """float64 [queries, keys], masked ones too."""
    start, first = sequence.first_cached, sequence.first_query
    slots = inputs["kv_indices"][start : start + sequence.cached]
    key_head = head // (case.query_heads // case.key_heads)
    keys = [inputs["k_cache"][slots, key_head]]
    rows = slice(first, first + sequence.queries)
    if case.task == "extend":
        keys.append(inputs["k"][rows, key_head])
    return inputs["scale"] * inputs["q"][rows, head].astype(float) @ np.concatenate(keys).T


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("case", SMALL, ids=["extend", "decode"])
def test_inputs_are_deterministic_rounded_and_poisoned(case, distribution):
    inputs, again = (case.make_inputs(3, distribution) for _ in range(2))
    other = case.make_inputs(4, distribution)
    unused = np.setdiff1d(np.arange(case.symbols["S"]), inputs["kv_indices"])
    for name, value in inputs.items():
        np.testing.assert_array_equal(value, again[name])
        if isinstance(value, np.ndarray) and value.dtype == np.float32:
            np.testing.assert_array_equal(value, round_bf16(value))
            assert not np.array_equal(value, other[name], equal_nan=True)
            if name.endswith("_cache"):
                assert np.isnan(value[unused]).all()
                assert np.isfinite(value[inputs["kv_indices"]]).all()
            else:
                assert np.isfinite(value).all()


@pytest.mark.parametrize("task", SUITE.values(), ids=SUITE)
def test_inputs_are_named_and_shaped_as_the_parameters(task):
    case = task.cases[4] if task.name == "extend" else task.cases[1]
    inputs = case.make_inputs()
    assert set(inputs) == {param.name for param in task.params} - set(task.outputs)
    for param in task.params:
        if param.kind == "tensor" and param.name in inputs:
            expected = tuple(case.symbols[dim.id] for dim in param.dims)
            assert inputs[param.name].shape == expected
            assert inputs[param.name].dtype == np.float32
        elif param.kind == "table":
            assert inputs[param.name].dtype == np.int64
        elif param.kind == "size":
            assert inputs[param.name] == case.symbols[param.name]


def test_normal_logits_spread_by_1_to_3_and_values_have_mean_zero():
    inputs = CASE.make_inputs(0, "normal")
    spreads = [logits(CASE, inputs, CASE.sequences[4], head).std() for head in range(8)]
    np.testing.assert_allclose(spreads, np.linspace(1, 3, 8), rtol=0.1)
    assert abs(inputs["v"].mean()) < 0.02


def test_needles_decide_their_rows():
    inputs = CASE.make_inputs(0, "needle")
    sequence = CASE.sequences[4]
    places = needle_positions(Draft(CASE, 0, "needle"))
    for head in (0, 7):
        x = logits(CASE, inputs, sequence, head)
        for query in range(0, sequence.queries, 7):
            place = places[sequence.first_query + query, head]
            weights = np.exp(x[query] - x[query].max())
            assert weights[place] / weights.sum() > 0.9


def test_needles_stand_at_every_kind_of_place():
    sequence = CASE.sequences[4]
    places = needle_positions(Draft(CASE, 0, "needle"))[sequence.first_query :]
    found = set(places[150:152].ravel().tolist()) | set(places[298:].ravel().tolist())
    assert {0, 999, 1000, 1150, 1299, 960, 1151, 575, 1128} <= found
    assert places.max() < sequence.keys
    first = needle_positions(Draft(CASE, 0, "needle"))[0]  # a prefix of 8, one new token
    assert set(first.tolist()) == {0, 8, 7, 4}


def test_large_maxima_overflow_exp_and_underflow_it():
    inputs = CASE.make_inputs(0, "large_maxima")
    for head in range(8):
        x = logits(CASE, inputs, CASE.sequences[3], head)
        up = x[:, 0] > 0
        assert 0.3 < up.mean() < 0.7
        assert x[up].min() > 300
        assert x[~up].max() < -300
        assert 1 < x.std(axis=1).mean() < 5


def every_row(case, distribution, seed=0):
    """(sequence, query, head, logits of the visible keys): every row, or one in seven of many."""
    inputs = case.make_inputs(seed, distribution)
    for sequence in case.sequences:
        for head in range(case.query_heads):
            x = logits(case, inputs, sequence, head)
            for query in range(0, sequence.queries, 1 if sequence.queries < 50 else 7):
                yield sequence, query, head, x[query, : sequence.visible(query)]


def block_means(x, tokens):
    return np.array([x[start : start + tokens].mean() for start in range(0, len(x), tokens)])


@pytest.mark.parametrize(("name", "sign"), [("ramp_up", 1), ("ramp_down", -1)])
def test_ramps_rise_and_fall_by_more_than_100_from_block_to_block(name, sign):
    small = []
    for sequence, query, head, x in every_row(CASE, name):
        if len(x) >= 256:
            for tokens in (16, 64, 128):  # blocks of the kernels
                steps = sign * np.diff(block_means(x[: len(x) // tokens * tokens], tokens))
                small.append(steps.max() < 20)
                assert small[-1] or (steps > 100).all(), (sequence.index, query, head)
    assert 0.15 < np.mean(small) < 0.35


def test_steps_are_large_and_go_both_ways():
    small = []
    for sequence, _, _, x in every_row(CASE, "steps"):
        if sequence.cached == 1000:
            steps = np.diff(block_means(x[:960], 16))
            small.append(abs(steps).min() < 100)
            assert small[-1] == (abs(steps).max() < 130)
            assert (steps > 0).any() and (steps < 0).any()
    assert 0.1 < np.mean(small) < 0.4


def test_ramps_have_no_more_levels_than_bf16_counts():
    assert [block_tokens(keys) for keys in (1, 2048, 2049, 16_384)] == [16, 16, 32, 128]


@pytest.mark.parametrize("case", SMALL, ids=["extend", "decode"])
@pytest.mark.parametrize(("name", "place"), [("sink", 0), ("sink_last", -1)])
def test_sinks_outweigh_all_other_keys(case, name, place):
    rows = [x for _, _, _, x in every_row(case, name) if len(x) > 1]
    above = [x[place] - np.delete(x, place).max() > 89 for x in rows]  # exp overflows fp32
    assert np.mean(above) > 0.5  # in three rows of four


@pytest.mark.parametrize("case", SMALL, ids=["extend", "decode"])
@pytest.mark.parametrize(("name", "sign"), [("far_below", -1), ("far_above", 1)])
def test_far_logits_are_far_and_close_to_each_other(case, name, sign):
    farthest = 0
    for _, _, _, x in every_row(case, name):
        assert (sign * x).min() > 1000
        assert np.ptp(x) < 15
        if abs(x).max() > 1e5:
            assert np.ptp(x) == 0  # no small difference is exact there
        farthest = max(farthest, abs(x).max())
    assert farthest > (1.9e6 if case.task == "extend" else 1e5)  # beyond any sentinel in use


def test_far_logits_are_exact_in_fp32_in_any_order():
    inputs = CASE.make_inputs(1, "far_below")
    for name in ("q", "k"):
        np.testing.assert_array_equal(inputs[name], np.rint(inputs[name]))
    products = abs(inputs["q"]).sum(axis=-1) * abs(inputs["k"]).max()
    single = np.count_nonzero(inputs["q"], axis=-1) == 1  # one product: exact at any size
    assert products[~single].max() < 2**23
    assert 0.2 < single.mean() < 0.45


@pytest.mark.parametrize("case", SMALL, ids=["extend", "decode"])
def test_equal_keys_have_equal_logits_and_values_cancel_in_zero_sum(case):
    for _, _, _, x in every_row(case, "equal_keys"):
        assert np.ptp(x) < 1e-12
    inputs = case.make_inputs(0, "zero_sum")
    plain = np.zeros(case.output_shape[:2], bool)
    plain[0] = True
    # The row of the first sequence: dropping any key changes it by half of its size and more.
    sequence = case.sequences[0]
    names = ("k_cache", "v_cache")
    right = case.oracle(inputs, plain)[0, 0]
    slots = inputs["kv_indices"][: sequence.cached]
    rows = [inputs["v_cache"][slots, 0].astype(float)]
    if case.task == "extend":
        rows.append(inputs["v"][:1, 0].astype(float))
    values = np.concatenate(rows)
    np.testing.assert_allclose(values.mean(axis=0), right, atol=1e-12)
    for key in range(len(values)):
        wrong = np.delete(values, key, axis=0).mean(axis=0)
        assert np.linalg.norm(wrong - right) > 0.2 * np.linalg.norm(right), (key, names)


def test_values_over_equal_keys_are_ordinary_or_near_one_number():
    found = []
    for seed in range(4):
        values = CASE.make_inputs(seed, "equal_keys")["v"]
        for sequence in CASE.sequences:
            rows = values[sequence.first_query :][: sequence.queries]
            for head in range(CASE.key_heads):
                same = (np.sign(rows[:, head]) == np.sign(rows[0, head, 0])).all()
                size = float(abs(rows[:, head]).mean())
                found.append(round(np.log10(size)) if same else 0)
    assert set(found) == {0, -6, 3, 5}
    assert 0.3 < np.mean(np.array(found) == 0) < 0.7


@pytest.mark.parametrize("elements", [64, 32, 16, 4])
@pytest.mark.parametrize("task", ["extend", "decode"])
def test_climbing_rows_have_a_peak_in_every_window(task, elements):
    cached, new = (300, 700), (400, 1) if task == "extend" else (1, 1)
    case = AttentionCase("climb", task, cached, new, 8, 2, elements, 16, True)
    places, up, far = set(), [], []
    for sequence, _, _, x in every_row(case, "climb"):
        windows = -(-sequence.cached // WINDOW)
        start = [w * WINDOW for w in range(windows)]
        start += [sequence.cached + w * WINDOW for w in range(-(-sequence.new_keys // WINDOW))]
        ends = [*start[1:], len(x)]
        whole = [
            x[a:b] for a, b in zip(start, ends, strict=True) if b - a == WINDOW and b <= len(x)
        ]
        tops = [float(part.max()) for part in whole]
        step = float(np.median(np.abs(np.diff(tops))))
        up.append(tops[-1] > tops[0])
        far.append(step > 4e5)
        assert step > 130  # in powers of two as well as of e, exp overflows
        assert len({int(part.argmax()) for part in whole}) == 1  # the row's own place
        places.add(int(whole[0].argmax()))
        for part, top in zip(whole, tops, strict=True):
            assert top - np.sort(part)[-2] > 250  # twice a step
        if up[-1]:
            peaks = [a + int(whole[0].argmax()) for a, part in zip(start, whole, strict=False)]
            assert all(x[at] - x[:at].max(initial=-np.inf) > 89 for at in peaks)
    assert 0.5 < np.mean(up) < 0.95
    assert 0.05 < np.mean(far) < 0.6
    assert len(places) > (8 if elements >= 16 and task == "extend" else 0)


def test_windows_of_a_climb_are_no_more_than_bf16_counts():
    assert [window_of(keys) for keys in (1, 30_720, 30_721, 2**20)] == [128, 128, 256, 8192]


@pytest.mark.parametrize("name", ["large_maxima", "ramp_up", "sink", "far_below", "climb"])
def test_no_two_heads_share_the_sizes_of_their_rows(name):
    # A maximum over two heads is right wherever both have logits of the same size.
    tops = np.zeros((129, 8))
    for sequence, query, head, x in every_row(CASE, name):
        if sequence.cached == 64:
            tops[query, head] = x.max()
    tops = tops[tops[:, 0] != 0]
    for one in range(8):
        for other in range(one):
            assert (abs(tops[:, one] - tops[:, other]) > 89).mean() > 0.2, (one, other)


def test_lone_keys_decide_and_lie_anywhere():
    found = []
    for sequence, _, _, x in every_row(CASE, "lone_key"):
        if sequence.index == 4:
            order = np.sort(x)
            assert order[-1] - order[-2] > 100
            found.append(int(x.argmax()))
    assert len(set(found)) > 200  # in 344 rows, of 1,300 keys


def test_one_row_of_v_is_large_in_each_sequence_and_key_head():
    inputs = CASE.make_inputs(0, "large_value")
    for sequence in CASE.sequences:
        slots = inputs["kv_indices"][sequence.first_cached :][: sequence.cached]
        new = inputs["v"][sequence.first_query :][: sequence.queries]
        values = np.concatenate([inputs["v_cache"][slots], new])
        sizes = np.linalg.norm(values, axis=-1)
        assert ((sizes > 1000).sum(axis=0) == 1).all()


def test_distributions_keep_their_order_and_name_their_mistake():
    names = list(DISTRIBUTIONS)
    assert names[:4] == ["normal", "peaked", "needle", "large_maxima"]
    assert len(names) == 16
    for distribution in DISTRIBUTIONS.values():
        assert distribution.text and distribution.catches


def test_shared_inputs_are_those_of_make_inputs_and_cannot_be_changed():
    for distribution in ("normal", "zero_sum"):
        own, shared = CASE.make_inputs(5, distribution), CASE.shared_inputs(5, distribution)
        for name, value in own.items():
            np.testing.assert_array_equal(value, shared[name])
        own["k_cache"][:] = 0  # one's own: no other call sees it
        np.testing.assert_array_equal(
            CASE.make_inputs(5, distribution)["k_cache"], shared["k_cache"]
        )
    with pytest.raises(ValueError, match="read-only"):
        CASE.shared_inputs(5, "normal")["k_cache"][0] = 1


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("case", SMALL, ids=["extend", "decode"])
def test_inputs_of_chosen_rows_give_those_rows(case, distribution):
    rows = np.zeros(case.output_shape[:2], bool)
    expected = case.oracle(case.make_inputs(9, distribution))
    for place in np.random.default_rng(len(distribution)).integers(rows.size, size=(3, 4)):
        draft._kept.clear()
        rows[:] = False
        rows.flat[place] = True
        inputs = case.shared_inputs(9, distribution, rows)
        np.testing.assert_allclose(case.oracle(inputs, rows)[rows], expected[rows], 1e-9, 1e-12)
        assert all(np.isfinite(inputs["k_cache"][inputs["kv_indices"]]).ravel())
    draft._kept.clear()
    assert case.shared_inputs(9, distribution, np.zeros_like(rows)).keys() == inputs.keys()


def test_keys_that_no_chosen_row_needs_are_not_drawn():
    draft._kept.clear()
    rows = np.zeros(CASE.output_shape[:2], bool)
    rows[-1, 7] = True  # the last sequence, key head 1
    inputs = CASE.shared_inputs(2, "ramp_up", rows)
    slots = inputs["kv_indices"]
    assert np.count_nonzero(inputs["k_cache"][slots[:-1000]]) == 0
    assert np.count_nonzero(inputs["v_cache"][slots, 0]) == 0
    assert (inputs["k_cache"][slots[-1000:], 1] != 0).any(axis=-1).all()
    with pytest.raises(ValueError, match="rows must have shape"):
        CASE.shared_inputs(2, "ramp_up", rows[1:])


def test_unused_slots_are_poisoned_in_part_until_all_is_drawn(monkeypatch):
    draft._kept.clear()
    monkeypatch.setattr(draft, "MOST_POISON", 5 * 8 * 64)
    case = AttentionCase("poison", "decode", (200, 300), (1, 1), 8, 8, 64, 16, True)
    unused = np.setdiff1d(np.arange(case.symbols["S"]), case.tables["kv_indices"])
    rows = np.array([[True] * 8, [False] * 8])
    for distribution in ("normal", "zero_sum"):
        for name in ("k_cache", "v_cache"):
            part = case.shared_inputs(0, distribution, rows)[name]
            assert np.isnan(part[unused]).all(axis=(1, 2)).sum() == 5
    for distribution in ("normal", "zero_sum"):
        for name in ("k_cache", "v_cache"):
            assert np.isnan(case.shared_inputs(0, distribution)[name][unused]).all()


def test_rows_of_another_shape_are_refused_on_levels():
    with pytest.raises(ValueError, match=r"rows must have shape \(37,\), not \(3,\)"):
        TINY_LEVELS["vector_add"].shared_inputs(0, "normal", np.ones(3, bool))


def test_base_draws_are_kept_up_to_a_bound(monkeypatch):
    draft._kept.clear()
    monkeypatch.setattr(draft, "MOST_BYTES", 1_000_000)
    small = AttentionCase("kept", "decode", (100,), (1,), 1, 1, 64)
    for seed in range(30):  # 51,456 bytes each
        small.make_inputs(seed)
    assert len(draft._kept) == 19
    monkeypatch.setattr(draft, "MOST_BYTES", 1)
    small.make_inputs(3)
    assert len(draft._kept) == 1


def test_inputs_never_change(golden):
    # The draws use no function of the C library that machines may differ in.
    lines = [f"table {zlib.crc32(normal_table().astype('<f4').tobytes())}\n"]
    for case in (CASE, *(task.cases[-1] for task in LEVELS.values())):
        for distribution in DISTRIBUTIONS:
            inputs = case.make_inputs(7, distribution)
            tensors = [value for value in inputs.values() if getattr(value, "dtype", None) == "f4"]
            bits = b"".join(
                np.nan_to_num(tensor, nan=9.0).astype("<f4").tobytes() for tensor in tensors
            )
            lines.append(f"{case.name} {distribution} {zlib.crc32(bits)}\n")
    golden(GOLDEN, "".join(lines))


def test_normal_table_is_normal():
    table = normal_table().astype(float)
    assert abs(table.mean()) < 1e-6
    assert abs(table.std() - 1) < 1e-3
    assert (np.diff(table) >= 0).all()
    draws = Stream("any", 0, "test").normal(100, 1001)
    assert draws.shape == (100, 1001)
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
    assert set(Stream("any", 0, "test").integers(3, 99).tolist()) == {0, 1, 2}


def test_round_bf16_agrees_with_ml_dtypes():
    bits = np.random.PCG64(0).random_raw(50_000).astype(np.uint32)
    special = np.array([0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x7FFFFFFF, 0x7F800001, 0, 0x80000000])
    values = np.concatenate([bits, special.astype(np.uint32)]).view(np.float32)
    with np.errstate(invalid="ignore"):
        expected = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(round_bf16(values), expected)


@pytest.mark.parametrize(
    ("seed", "error", "text"),
    [
        (-1, ValueError, "seed must be 0 ... 18,446,744,073,709,551,615, not -1"),
        (1.0, TypeError, "seed must be an integer, not 1.0"),
        (None, TypeError, "seed must be an integer, not None"),
        (True, TypeError, "seed must be an integer, not True"),
    ],
)
@pytest.mark.parametrize("task", TASKS)
def test_bad_seeds_are_refused(task, seed, error, text):
    with pytest.raises(error, match=text.replace(".", r"\.")):
        TASKS[task].cases[0].make_inputs(seed)


@pytest.mark.parametrize("name", [3, ["normal"], "Normal", ""])
def test_what_is_no_distribution_is_refused(name):
    with pytest.raises(TaskError, match="unknown distribution"):
        CASE.make_inputs(0, name)


def test_unknown_distribution_is_refused_with_the_list():
    with pytest.raises(TaskError, match=r"'gauss'.*normal, peaked, needle, large_maxima"):
        CASE.make_inputs(0, "gauss")
