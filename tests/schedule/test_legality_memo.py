"""What `legal_edits` remembers changes nothing: on walks of edits it equals trying everything."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from m890sim.chip import CHIPS
from m890sim.kernel import ir, print_kernel
from m890sim.language import parse
from m890sim.schedule import (
    EDITS,
    Context,
    Edit,
    EditError,
    apply,
    candidates,
    legal_edits,
    legality,
    rewrite,
)
from m890sim.schedule.core import memo
from m890sim.schedule.core.tree import node, sites
from m890sim.schedule.edit import head_of
from m890sim.session import context_of
from m890sim.workloads import load_kernel
from tests.generators import random_program

CONTEXTS = (
    *(context_of(None, chip) for chip in CHIPS),
    Context(dtypes=("f32",), queues=1, banks=4, positive=()),
    Context(dtypes=("bf16", "f16", "f32", "f8e4m3"), queues=6, banks=12),
)
BUILT_IN = (
    "attention_reference",
    "attention_5_softmax",
    "attention_9_balance",
    "attention_14_ahead",
    "decode_reference",
    "decode_6_balance",
)


def naive_legal_edits(kernel: ir.Kernel, context: Context) -> list[Edit]:
    """Every candidate tried on a kernel of new nodes, of which nothing can be remembered."""
    copy = parse(print_kernel(kernel))
    found = []
    for edit in candidates(copy, context):
        try:
            rewrite(copy, edit, context)
        except EditError:
            continue
        found.append(edit)
    return found


def walk(kernel: ir.Kernel, context: Context, seed: int, steps: int) -> list[ir.Kernel]:
    """Kernels on a walk of random edits, rare kinds as often as frequent ones."""
    rng = random.Random(seed)
    kernels = [kernel]
    for _ in range(steps):
        kinds: dict[str, list[Edit]] = {}
        for edit in legal_edits(kernels[-1], context):
            kinds.setdefault(edit.name, []).append(edit)
        if not kinds:
            break
        edit = rng.choice(kinds[rng.choice(sorted(kinds))])
        kernels.append(apply(kernels[-1], edit, context))
    return kernels


def assert_same(kernel: ir.Kernel, context: Context) -> None:
    actual, expected = legal_edits(kernel, context), naive_legal_edits(kernel, context)
    missing = [str(edit) for edit in expected if edit not in set(actual)]
    extra = [str(edit) for edit in actual if edit not in set(expected)]
    assert (missing, extra) == ([], []), print_kernel(kernel)
    assert actual == expected


@pytest.mark.parametrize("seed", range(8))
def test_remembered_edits_are_those_of_trying_all_on_generated_kernels(seed: int) -> None:
    context = CONTEXTS[seed % len(CONTEXTS)]
    for kernel in walk(random_program(4000 + seed, 120).kernel, context, seed, 5):
        assert_same(kernel, context)


@pytest.mark.parametrize("name", BUILT_IN)
def test_remembered_edits_are_those_of_trying_all_on_built_in_kernels(name: str) -> None:
    number = BUILT_IN.index(name)
    context = CONTEXTS[number % len(CONTEXTS)]
    for kernel in walk(load_kernel(name), context, number, 3):
        assert_same(kernel, context)


@pytest.mark.parametrize("name", ["attention_reference", "decode_6_balance"])
def test_order_and_placing_of_known_statements_change_no_answer(name: str) -> None:
    """Much is remembered of blocks whatever the order of their statements."""
    context, rng = CONTEXTS[0], random.Random(name)
    kernel = load_kernel(name)
    for step in range(10):
        moves = [
            edit
            for edit in legal_edits(kernel, context)
            if edit.name.startswith("move_") or EDITS[edit.name].placing
        ]
        kernel = apply(kernel, rng.choice(moves), context)
        if step % 5 == 4:
            assert_same(kernel, context)


def test_kernels_that_differ_in_slots_banks_queues_and_orders_share_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memo.forget()  # so that it does not become full in between
    context = CONTEXTS[0]
    kernel = load_kernel("attention_reference")
    before = legal_edits(kernel, context)
    asked: list[str] = []
    work_out = legality._legal

    def listened(rows: Any, *rest: Any) -> Any:
        asked.extend(spec.name for _, spec in rows)
        return work_out(rows, *rest)

    monkeypatch.setattr(legality, "_legal", listened)
    for name in ("set_slots", "set_bank", "set_queue", "set_order"):
        kernel = apply(kernel, next(edit for edit in before if edit.name == name), context)
        after = legal_edits(kernel, context)
        assert [e for e in after if not EDITS[e.name].placing] == [
            e for e in before if not EDITS[e.name].placing
        ]
    assert asked
    assert all(EDITS[name].placing for name in asked)


def test_one_kernel_keeps_its_edits_apart_for_each_context() -> None:
    kernel = random_program(4100).kernel
    for context in (*CONTEXTS, CONTEXTS[0]):
        assert_same(kernel, context)


@pytest.mark.parametrize("seed", range(3))
def test_apply_succeeds_for_exactly_the_legal_edits(seed: int) -> None:
    context = CONTEXTS[seed % len(CONTEXTS)]
    kernel = walk(random_program(4200 + seed, 60).kernel, context, seed, 3)[-1]
    legal = set(legal_edits(kernel, context))
    for edit in candidates(kernel, context):
        if edit in legal:
            apply(kernel, edit, context)
        else:
            with pytest.raises(EditError):
                apply(kernel, edit, context)


@pytest.mark.parametrize("seed", range(4))
def test_candidates_stand_where_their_row_says(seed: int) -> None:
    kernel = random_program(4300 + seed).kernel
    for name, spec in EDITS.items():
        if spec.heads is None:
            continue
        for site, stmt in [((), None), *sites(kernel)]:
            if head_of(stmt) not in spec.heads:
                assert not list(spec.arguments(kernel, site, stmt, CONTEXTS[0])), name


def test_fences_do_not_move_on_their_own() -> None:
    kernel = load_kernel("attention_reference")
    moved = [edit for edit in candidates(kernel) if edit.name.startswith("move_")]
    assert moved
    for edit in moved:
        stmt = node(kernel, edit.site)
        assert not isinstance(stmt, ir.Instr) or stmt.op != "fence"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    memo.forget()
    monkeypatch.setattr(memo, "MOST_ANSWERS", 50)
    monkeypatch.setattr(legality, "_MOST_CONTEXTS", 2)
    kernels = walk(random_program(4400).kernel, CONTEXTS[0], 0, 2)
    for context in CONTEXTS:
        for kernel in kernels:
            assert_same(kernel, context)
            assert sum(map(len, memo._EVERY)) <= 50
    memo.forget()
    assert not any(memo._EVERY)


def test_a_memo_knows_objects_by_identity_and_values_by_equality() -> None:
    found: memo.Memo[int] = memo.Memo()
    one, other = ir.Name("a"), ir.Name("a")
    assert [found.get((node,), lambda: 1, "x") for node in (one, other, one)] == [1, 1, 1]
    assert len(found.answers) == 2
    assert found.get((one,), lambda: 2, "y") == 2
    assert found.get((one,), lambda: 3, "y") == 2


def test_a_memo_raises_what_it_knows_as_a_refusal_each_time() -> None:
    found: memo.Memo[int] = memo.Memo()
    asked = []

    def refused() -> int:
        asked.append(1)
        raise EditError("no")

    errors = []
    for _ in range(2):
        with pytest.raises(EditError, match="no") as caught:
            found.checked((), refused, "x")
        errors.append(caught.value)
    assert asked == [1]
    assert errors[0] is not errors[1]


def test_threads_that_ask_for_different_kernels_get_the_right_edits() -> None:
    kernels = [random_program(4500 + seed).kernel for seed in range(4)]
    expected = [naive_legal_edits(kernel, CONTEXTS[0]) for kernel in kernels]
    memo.forget()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            copies = [parse(print_kernel(kernel)) for kernel in kernels]
            found = list(pool.map(lambda kernel: legal_edits(kernel, CONTEXTS[0]), copies))
            assert found == expected


def test_statements_that_only_pass_their_equals_do_not_move() -> None:
    text = """from m890sim.lang import *


@kernel
def f(x: Tensor["N", "D"]):
    for i in cores(N):
        a = sram(1, D, bf16)
        load(a, x[i, :])
        if i < 1:
            fence()
        if i < 1:
            fence()
        if i < 1:
            fence()
        if i < 2:
            fence()
        fill(a, 0.0)
"""
    kernel = parse(text)
    assert_same(kernel, CONTEXTS[0])
    legal = {str(edit) for edit in legal_edits(kernel, CONTEXTS[0])}
    assert "move_down(0.2)" not in legal
    assert "move_down_far(0.2)" in legal
