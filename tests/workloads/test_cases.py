"""Tasks and cases: the shapes of the issue, page tables, and what a query sees."""

from __future__ import annotations

import pickle
import zlib

import numpy as np
import pytest

from m890sim import get_task
from m890sim.errors import TaskError
from m890sim.workloads import SUITE, TASKS, AttentionCase

CASES = [case for task in SUITE.values() for case in task.cases]


def test_tasks_have_the_cases_of_the_suite():
    names = {task.name: [case.name for case in task.cases] for task in SUITE.values()}
    assert names == {
        "extend": [
            "prefill-256",
            "prefill-1024",
            "prefill-2048",
            "extend-1920+128",
            "extend-ragged",
            "extend-512+512",
        ],
        "decode": ["decode-4x8192", "decode-ragged", "decode-1x16384"],
    }


@pytest.mark.parametrize(
    ("name", "cached", "queries", "heads", "elements", "page"),
    [
        ("prefill-256", (0,), (256,), (4, 4), 64, 16),
        ("prefill-1024", (0,), (1024,), (8, 2), 128, 16),
        ("prefill-2048", (0,), (2048,), (8, 8), 128, 16),
        ("extend-1920+128", (1920,), (128,), (8, 2), 128, 16),
        ("extend-ragged", (8, 16, 32, 64, 1000), (1, 7, 13, 129, 300), (8, 2), 64, 1),
        ("extend-512+512", (512,), (512,), (8, 2), 128, 16),
        ("decode-4x8192", (8192,) * 4, (1,) * 4, (8, 2), 128, 16),
        ("decode-1x16384", (16384,), (1,), (16, 2), 128, 64),
    ],
)
def test_case_has_its_shape(name, cached, queries, heads, elements, page):
    case = get_task("decode" if name.startswith("decode") else "extend").case(name)
    assert (case.cached, case.queries) == (cached, queries)
    assert (case.query_heads, case.key_heads) == heads
    assert (case.head_elements, case.page_tokens) == (elements, page)


def test_decode_ragged_has_sixteen_lengths_from_1_to_4096():
    case = get_task("decode").case("decode-ragged")
    assert len(case.cached) == 16
    assert (min(case.cached), max(case.cached)) == (1, 4096)
    assert len(set(case.cached)) == 16


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_token_has_its_own_slot_and_pages_stay_unused(case):
    indices = case.tables["kv_indices"]
    assert len(np.unique(indices)) == len(indices) == sum(case.cached)
    assert indices.min(initial=0) >= 0
    assert indices.max(initial=0) < case.symbols["S"]
    used = {slot // case.page_tokens for slot in indices.tolist()}
    assert case.symbols["S"] // case.page_tokens > len(used)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_tokens_of_a_page_lie_side_by_side(case):
    indices = case.tables["kv_indices"]
    for sequence in case.sequences:
        slots = indices[sequence.first_cached : sequence.first_cached + sequence.cached]
        within = np.arange(sequence.cached) % case.page_tokens
        assert np.array_equal(slots % case.page_tokens, within)
        assert (np.diff(slots)[within[1:] > 0] == 1).all()


def test_shuffled_pages_are_not_in_order_and_ordered_ones_do_not_begin_at_0():
    shuffled = get_task("extend").case("extend-512+512").tables["kv_indices"]
    ordered = get_task("extend").case("extend-1920+128").tables["kv_indices"]
    assert (np.diff(shuffled) < 0).any()
    assert (np.diff(ordered) == 1).all()
    assert ordered[0] == 16


def test_page_tables_never_change():
    # Cycles hang on the tables: a change here changes golden counts.
    expected = {
        "prefill-256": 0,
        "prefill-1024": 0,
        "prefill-2048": 0,
        "extend-1920+128": 2661915570,
        "extend-ragged": 41488866,
        "extend-512+512": 2901347843,
        "decode-4x8192": 2533851136,
        "decode-ragged": 2797085865,
        "decode-1x16384": 3186283187,
    }
    tables = {case.name: case.tables["kv_indices"].astype("<i8") for case in CASES}
    assert {name: zlib.crc32(table.tobytes()) for name, table in tables.items()} == expected


def test_tables_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        get_task("extend").cases[0].tables["qo_indptr"][0] = 1


def test_visible_keys_of_extend_and_decode():
    extend = AttentionCase("e", "extend", (3, 0), (2, 1), 2, 1, 8)
    assert [[s.visible(i) for i in range(s.queries)] for s in extend.sequences] == [[4, 5], [1]]
    assert extend.pairs == 2 * (4 + 5 + 1)
    decode = AttentionCase("d", "decode", (3, 7), (1, 1), 4, 2, 8)
    assert [s.visible(0) for s in decode.sequences] == [3, 7]
    assert decode.pairs == 4 * 10


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("c", "prefill", (1,), (1,), 1, 1, 8), "must be 'extend' or 'decode'"),
        (("c", "extend", (1, 2), (1,), 1, 1, 8), "one entry a sequence"),
        (("c", "extend", (1,), (0,), 1, 1, 8), "queries of a sequence .* must be 1"),
        (("c", "decode", (0,), (1,), 1, 1, 8), "cached of a sequence of task decode must be 1"),
        (("c", "decode", (4,), (2,), 1, 1, 8), "queries must be 1 for every sequence"),
        (("c", "extend", (4,), (2,), 3, 2, 8), "multiple of key_heads"),
        (("c", "extend", (4,), (2,), 2, 2, 0), "head_elements must be 1 ... 67,108,864"),
    ],
)
def test_impossible_shapes_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        AttentionCase(*arguments)


def test_unknown_task_and_case_name_the_nearest():
    with pytest.raises(TaskError, match="did you mean extend"):
        get_task("extent")
    with pytest.raises(TaskError, match=r"did you mean prefill-2048"):
        get_task("extend").case("prefill-2049")


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_case_is_pickled_without_what_it_caches(task):
    for case in task.cases:
        assert case.symbols and case.demand and case.tables is not None
        again = pickle.loads(pickle.dumps(case))
        assert again == case and hash(again) == hash(case)
        assert dict(again.symbols) == dict(case.symbols)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_promised_scalars_are_above_0(task):
    scalars = {param.name for param in task.params if param.kind == "scalar"}
    assert set(task.positive) == scalars
    for case in task.cases:
        assert all(case.scalars[name] > 0 for name in task.positive)


def test_cases_of_real_size_are_possible() -> None:
    lengths = tuple(int(3072 ** (i * 77 % 128 / 127)) for i in range(128))
    decode = AttentionCase("d", "decode", lengths, (1,) * 128, 32, 8, 128, 16, True)
    assert decode.symbols["S"] * 8 * 128 > 2**25
    prefill = AttentionCase("p", "extend", (0,), (4096,), 32, 8, 128)
    assert prefill.demand.products > 2**35


def test_hidden_cases_have_names_that_give_them_again() -> None:
    task = get_task("extend")
    for case in task.hidden_cases(3, 12):
        assert task.case(case.name) == case
    for name in ("hidden-12", "hidden-12-99999999", f"hidden-{2**64}-0", "hidden-01-2"):
        with pytest.raises(TaskError, match="unknown case of task extend"):
            task.case(name)
