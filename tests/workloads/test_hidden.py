"""Hidden cases: the published shares, the same for the same seed, and references that are right."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from m890sim import evaluate, get_task
from m890sim.errors import TaskError
from m890sim.workloads import LEVELS, SUITE, TASKS, AttentionCase
from m890sim.workloads.hidden import (
    DECODE_SIZES,
    ELEMENTS,
    EXTEND_SIZES,
    HEADS,
    LONG_ELEMENTS,
    LONG_NEW,
    LONG_PREFIX,
    LONG_PRODUCTS,
    MOST_ELEMENTS,
    OTHER_ELEMENTS,
    SEVERAL_KEY_HEADS,
    CaseDice,
)

GOLDEN = Path(__file__).parent / "golden" / "hidden.txt"
SEEDS = range(40)


def lengths(case: AttentionCase) -> list[int]:
    """New tokens in extend, cached ones that are there in both."""
    found = list(case.cached) + (list(case.queries) if case.task == "extend" else [])
    return [length for length in found if length]


def long(case: AttentionCase) -> bool:
    return case.text.startswith("long")


def scalars(task: str) -> list[str]:
    return [param.name for param in get_task(task).params if param.kind == "scalar"]


def draws(task: str, count: int = 24) -> list[AttentionCase]:
    return [case for seed in SEEDS for case in get_task(task).hidden_cases(count, seed)]


@pytest.mark.parametrize("task", TASKS)
def test_hidden_cases_follow_from_the_seed_and_not_from_the_count(task):
    whole, part = (get_task(task).hidden_cases(count, 11) for count in (9, 4))
    assert whole[:4] == part
    assert [case.name for case in whole] == [f"hidden-11-{index}" for index in range(9)]
    assert len({case.digest for case in whole}) == 9
    assert {case.task for case in whole} == {task}
    other = get_task(task).hidden_cases(9, 12)
    assert [dataclasses.replace(a, name="same") for a in whole] != [
        dataclasses.replace(a, name="same") for a in other
    ]


def test_hidden_cases_never_change(golden):
    # Scores on hidden cases hang on them: a new rule has a new name, HiddenCases.name.
    lines = []
    for task in TASKS.values():
        lines.append(f"{task.name} {task.hidden.name}\n")
        for case in task.hidden_cases(16, 2026):
            shown = [
                f"{field.name}={getattr(case, field.name)!r}"
                for field in dataclasses.fields(case)
                if field.name not in ("task", "text")
            ]
            lines.append("  " + " ".join(shown) + "\n")
    golden(GOLDEN, "".join(lines))


@pytest.mark.parametrize("task", SUITE)
def test_at_least_four_fifths_of_the_lengths_are_no_multiples_of_64(task):
    for seed in SEEDS:
        found = [n for case in get_task(task).hidden_cases(24, seed) for n in lengths(case)]
        assert sum(n % 64 != 0 for n in found) >= 0.8 * len(found)
    every = [n for case in draws(task) for n in lengths(case)]
    assert any(n % 64 == 0 for n in every)


@pytest.mark.parametrize("task", SUITE)
def test_heads_elements_and_pages_are_dealt_whole(task):
    for seed in SEEDS:
        cases = get_task(task).hidden_cases(30, seed)
        groups = Counter(case.query_heads // case.key_heads for case in cases if not long(case))
        assert set(groups) == set(HEADS) and max(groups.values()) <= 3
        elements = Counter(case.head_elements for case in cases[:28])
        assert {n: elements[n] for n in ELEMENTS} == dict.fromkeys(ELEMENTS, 4)
        assert sum(elements[n] for n in OTHER_ELEMENTS) == 4
        assert Counter(case.page_tokens for case in cases) == dict.fromkeys((1, 16, 64), 10)
    heads = {(case.query_heads, case.key_heads) for case in draws(task) if not long(case)}
    assert heads == {pair for pairs in HEADS.values() for pair in pairs}
    assert {(28, 4), (40, 8), (32, 1), (96, 12)} <= heads
    for group, pairs in HEADS.items():
        assert {query // key for query, key in pairs} == {group}


@pytest.mark.parametrize("task", SUITE)
def test_large_groups_mostly_have_several_key_heads(task):
    large = [
        case
        for case in draws(task)
        if case.query_heads // case.key_heads >= SEVERAL_KEY_HEADS and not long(case)
    ]
    assert 0.85 < sum(case.key_heads > 1 for case in large) / len(large) < 0.97


def test_one_case_in_eight_is_long():
    for seed in SEEDS:
        for task, least in (("extend", LONG_NEW[0]), ("decode", LONG_PREFIX[0])):
            cases = get_task(task).hidden_cases(24, seed)
            found = [case for case in cases if long(case)]
            assert len(found) == 3
            for case in found:
                longest = max(case.queries if task == "extend" else case.cached)
                assert least <= longest <= {"extend": LONG_NEW, "decode": LONG_PREFIX}[task][1]
    assert max(max(case.queries) for case in draws("extend")) > 4000
    assert max(max(case.cached) for case in draws("decode")) > 30_000


def test_batches_of_more_than_sixteen_sequences_are_drawn():
    for seed in SEEDS:
        batches = [len(case.cached) for case in get_task("extend").hidden_cases(24, seed)]
        assert max(batches) > 16
    assert max(len(case.cached) for case in draws("decode")) > 64


@pytest.mark.parametrize("task", [name for name in TASKS if "scale" in scalars(name)])
def test_scale_is_drawn_around_the_usual_one(task):
    parts = []
    for seed in SEEDS:
        for case in get_task(task).hidden_cases(12, seed):
            usual = dataclasses.replace(case, scale=None).scalars["scale"]
            parts.append(case.scalars["scale"] / usual)
            if not len(parts) % 4:  # inputs take most of the time
                assert case.make_inputs(0)["scale"] == case.scalars["scale"]
    assert 0.5 <= min(parts) < 0.55 and 1.9 < max(parts) < 2
    assert len(set(parts)) > len(parts) / 3
    assert 0.4 < sum(part < 1 for part in parts) / len(parts) < 0.6


def test_ragged_batches_have_empty_prefixes_and_single_tokens():
    ragged = [case for case in draws("extend") if case.text.startswith("ragged")]
    assert len(ragged) >= len(SEEDS) * 8
    assert all(0 in case.cached and 1 in case.queries for case in ragged)
    assert any(min(case.cached) == 0 < max(case.cached) for case in ragged)
    batches = [case for case in draws("decode") if len(case.cached) > 1 and not long(case)]
    assert all(1 in case.cached for case in batches)
    assert max(len(case.cached) for case in batches) > 64


def test_lengths_are_log_uniform():
    dice = CaseDice("extend", 0, 0)
    found = [dice.log_uniform(1, 4095) for _ in range(6000)]
    octaves = Counter(length.bit_length() for length in found)
    assert set(octaves) == set(range(1, 13))
    assert max(octaves.values()) < 1.3 * min(octaves.values())
    assert {dice.log_uniform(5, 5) for _ in range(9)} == {5}
    assert {dice.log_uniform(3, 5) for _ in range(99)} == {3, 4, 5}


def test_cases_are_of_bounded_work():
    sizes = {"extend": EXTEND_SIZES, "decode": DECODE_SIZES}
    pairs = {task: max(size.pairs for size in sizes[task] if size) for task in sizes}
    keys = {task: max(size.elements for size in sizes[task] if size) for task in sizes}
    assert max(case.pairs for case in draws("extend") if not long(case)) <= pairs["extend"]
    for task in sizes:
        for case in draws(task):
            found = sum(sequence.keys for sequence in case.sequences)
            elements = found * case.key_heads * case.head_elements
            if long(case):
                # Short neighbours come on top.
                assert case.pairs * case.head_elements <= 1.1 * LONG_PRODUCTS
                assert elements <= 1.1 * max(LONG_ELEMENTS, keys[task])
                continue
            # A drawn decode batch may reach twice its share.
            assert case.pairs <= 2 * pairs[task]
            assert elements <= 2 * keys[task]
    assert sum(case.pairs > 10_000 for case in draws("extend")) > len(draws("extend")) / 2


@pytest.mark.parametrize("name", LEVELS)
def test_levels_have_odd_and_small_and_large_shapes(name):
    level = LEVELS[name]
    cases = [case for seed in SEEDS for case in level.hidden_cases(12, seed)]
    shapes = [case.output_shape for case in cases]
    rows = [shape[0] for shape in shapes]
    assert min(rows) <= 2 and max(rows) >= 200
    assert sum(n % 64 != 0 for n in rows) >= 0.8 * len(rows)
    assert max(rows * columns for rows, columns in shapes) <= MOST_ELEMENTS
    for symbol, (usual, longest) in level.lengths.items():
        lengths = [case.symbols[symbol] for case in cases]
        assert max(lengths) <= longest
        if usual < longest:
            assert usual < max(lengths)
            assert 0.05 < sum(n > usual for n in lengths) / len(lengths) <= 1 / 6


@pytest.mark.parametrize("task", TASKS)
def test_reference_is_right_on_hidden_cases(task):
    cases = sorted(get_task(task).hidden_cases(8, 3), key=lambda case: case.work)[:3]
    found = evaluate(get_task(task).reference, task, cases=cases, distributions=["normal"])
    assert found.correct, [case.message for case in found.cases]


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS)
def test_reference_is_right_on_thirty_hidden_cases(task):
    found = evaluate(get_task(task).reference, task, cases=get_task(task).hidden_cases(30, 5))
    assert found.correct, [case.message for case in found.cases if not case.correct]
    assert max(case.error for case in found.cases) <= 0.007


@pytest.mark.parametrize(
    ("count", "seed", "error", "text"),
    [
        (1.5, 0, TypeError, "count must be an integer, not 1.5"),
        (True, 0, TypeError, "count must be an integer, not True"),
        (1, "3", TypeError, "seed must be an integer, not '3'"),
        (1, None, TypeError, "seed must be an integer, not None"),
        (-1, 0, ValueError, "count must be 0 ... 10,000, not -1"),
        (10_001, 0, ValueError, "count must be 0 ... 10,000, not 10,001"),
        (1, -7, ValueError, "seed must be 0 ... 18,446,744,073,709,551,615, not -7"),
        (1, 2**64, ValueError, "seed must be"),
    ],
)
def test_count_and_seed_are_checked(count, seed, error, text):
    with pytest.raises(error, match=text.replace(".", r"\.")):
        get_task("extend").hidden_cases(count, seed)


def test_a_huge_seed_is_refused_without_being_printed():
    with pytest.raises(ValueError, match="not one of more than 64 bits"):
        get_task("extend").hidden_cases(1, 1 << 20_000)


def test_numpy_integers_are_integers():
    task = get_task("decode")
    assert task.hidden_cases(np.int64(2), np.uint8(3)) == task.hidden_cases(2, 3)


def test_task_without_a_generator_says_so():
    task = dataclasses.replace(get_task("extend"), hidden=None)
    assert task.digest != get_task("extend").digest
    with pytest.raises(TaskError, match="no generator of hidden cases"):
        task.hidden_cases(1, 0)
