"""Evaluations: what counts, what is remembered, what the log holds, kernels that fail."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from m890sim import evaluate, get_chip, get_task, load_kernel, schedule, simulate
from m890sim.schedule import Edit
from m890sim.session import BudgetError, KernelSession, Memory
from tests.session.toys import CASE, OTHER_CASE, fences, mask

Make = Callable[..., KernelSession]
SMALLER = Edit("set_tile", (), 32)
TOO_LARGE = Edit("set_tile", (), 4096)


def test_evaluation_agrees_with_the_judge(make: Make) -> None:
    session = make(cases=(CASE, OTHER_CASE), verify="always")
    session.apply(fences(session.kernel)[0])
    actual = session.evaluate()
    expected = evaluate(session.kernel, "extend", cases=(CASE, OTHER_CASE))
    assert actual.correct is True and actual.code == actual.message == ""
    assert actual.speedup == pytest.approx(expected.speedup)
    assert actual.speedup > 1.0
    assert actual.gap_closed == pytest.approx(expected.gap_closed)
    assert actual.cycles == {entry.case: entry.cycles for entry in expected.cases}
    for ours, theirs in zip(actual.cases, expected.cases, strict=True):
        assert ours.reference_cycles == theirs.reference_cycles
        assert ours.lower_bound_cycles == theirs.lower_bound_cycles
        assert ours.instructions == theirs.instructions
        assert ours.speedup == theirs.speedup


def test_attribution_is_summed_over_the_cores(make: Make) -> None:
    session = make(verify="never")
    (actual,) = session.evaluate().cases
    expected = simulate(session.kernel, CASE, session.chip).attribution
    assert actual.attribution is not None
    assert actual.attribution.to_json() == expected.to_json()
    assert actual.attribution.limiter == expected.limiter


def test_log_has_every_evaluation_in_order(make: Make) -> None:
    session = make()
    first = session.evaluate()
    session.apply(SMALLER)
    session.apply(fences(session.kernel)[0])
    second = session.evaluate()
    session.load("attention_textbook")
    third = session.evaluate()
    assert session.log == (first, second, third)
    assert [entry.index for entry in session.log] == [0, 1, 2]
    assert [len(entry.edits) for entry in session.log] == [0, 2, 0]
    assert second.edits[0] == SMALLER
    reference, textbook = (
        load_kernel(name) for name in ("attention_reference", "attention_textbook")
    )
    assert first.start == second.start == first.digest == schedule_digest(reference)
    assert third.start == third.digest == schedule_digest(textbook)


def schedule_digest(kernel: object) -> str:
    from m890sim.kernel import digest

    return digest(kernel)  # type: ignore[arg-type]


def test_edits_of_the_log_lead_to_its_kernel(make: Make) -> None:
    session = make(verify="never")
    for edit in (SMALLER, fences(session.kernel)[1], fences(session.kernel)[0]):
        session.apply(edit)
        session.evaluate()
    for entry in session.log:
        kernel = load_kernel("attention_reference")
        for edit in entry.edits:
            kernel = schedule.apply(kernel, edit)
        assert schedule_digest(kernel) == entry.digest


def test_budget_counts_kernels_not_calls(make: Make) -> None:
    session = make(budget=2, verify="never")
    assert (session.spent, session.left) == (0, 2)
    first = session.evaluate()
    assert session.evaluate() is first
    session.apply(SMALLER)
    session.evaluate()
    session.undo()
    assert session.evaluate() is first, "the same kernel again"
    assert (session.spent, session.left) == (2, 0)
    session.apply(fences(session.kernel)[0])
    with pytest.raises(BudgetError, match="the budget of 2 evaluations is spent"):
        session.evaluate()
    assert session.spent == 2 and len(session.log) == 2
    session.undo()
    assert session.evaluate() is first, "what was paid for stays known"


def test_kernels_of_one_digest_are_one_evaluation(make: Make) -> None:
    session = make(verify="never")
    first = session.evaluate()
    session.apply(Edit("remark", (), "another docstring"))
    assert session.evaluate() is first
    assert session.kernel.doc == "another docstring"


def test_no_budget_has_no_end(make: Make) -> None:
    session = make(verify="never")
    session.evaluate()
    assert session.left is None


def test_memory_saves_time_and_no_budget(make: Make) -> None:
    memory = Memory()
    first = make(memory=memory, verify="always")
    first.evaluate()
    first.apply(SMALLER)
    first.evaluate()
    assert (memory.timed, memory.judged) == (2, 2)
    second = make(memory=memory, verify="always", budget=2)
    second.evaluate()
    second.apply(SMALLER)
    second.evaluate()
    assert second.log == first.log
    assert (memory.timed, memory.judged) == (2, 2), "nothing was run again"
    assert second.left == 0, "but it was asked for"


def test_memory_is_kept_by_case_and_chip(make: Make) -> None:
    memory = Memory()
    make(memory=memory, verify="never").evaluate()
    make(memory=memory, verify="never", cases=(OTHER_CASE, CASE)).evaluate()
    assert memory.timed == 2, "the shared case was not timed again"
    make(memory=memory, verify="never", chip="m890-lean").evaluate()
    renamed = get_chip("m890").replace(dma_latency_cycles=901)
    make(memory=memory, verify="never", chip=renamed).evaluate()
    assert memory.timed == 4


def test_gate_is_remembered_by_seed_and_distributions(make: Make) -> None:
    memory = Memory()
    for expected, settings in enumerate(
        [{}, {"seed": 1}, {"distributions": "normal"}, {"distributions": ["normal"], "seed": 1}], 1
    ):
        make(memory=memory, **settings).evaluate()
        make(memory=memory, **settings).evaluate()
        assert memory.judged == expected


def walk(session: KernelSession) -> KernelSession:
    """Some edits and evaluations, a wrong kernel and one that does not fit among them."""
    for number in (3, 1, 4, 1, 5):
        session.apply(fences(session.kernel)[number])
        session.evaluate()
    for edit in (mask(session.kernel), TOO_LARGE, SMALLER):
        session.apply(edit)
        session.evaluate()
        session.undo()
    return session


@pytest.mark.parametrize("verify", ["best", "always", "never"])
def test_result_is_the_same_with_any_memory(make: Make, verify: str) -> None:
    shared = Memory()
    reports = [
        walk(make(memory=memory, verify=verify, distributions="normal")).report()
        for memory in (shared, shared, Memory(states=1, results=1))
    ]
    assert all(report == reports[0] for report in reports)


def test_small_memory_forgets(make: Make) -> None:
    memory = Memory(states=2, results=2)
    walk(make(memory=memory, verify="never"))
    timed = memory.timed
    walk(make(memory=memory, verify="never"))
    assert memory.timed > timed


def test_empty_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="states must be at least 1, not 0"):
        Memory(states=0, results=5)


def test_kernel_that_does_not_fit_the_chip_is_an_evaluation(make: Make) -> None:
    session = make(cases=(OTHER_CASE, CASE))
    session.evaluate()
    session.apply(TOO_LARGE)
    entry = session.evaluate()
    assert entry.correct is False and entry.failed and not entry.accepted
    assert entry.speedup == 1.0 and entry.gap_closed == 0.0
    assert entry.code == "E302"
    assert "toy-2: " in entry.message and "ACC" in entry.message
    assert entry.cycles == {"toy": None, "toy-2": None}
    assert session.spent == 2
    assert session.best is not None and session.best.index == 0


def test_first_evaluation_that_fails_is_no_best(make: Make) -> None:
    for verify in ("best", "always", "never"):
        session = make(verify=verify)
        session.apply(TOO_LARGE)
        session.evaluate()
        assert session.best is None and session.best_kernel is None
        assert session.best_speedup == 1.0


def test_reference_that_does_not_fit_is_refused(make: Make) -> None:
    tiny = get_chip("m890").replace(sram_bytes=16 * 1024)
    with pytest.raises(Exception, match="E301"):
        KernelSession(get_task("extend"), CASE, tiny)


def test_threads_may_share_a_memory(make: Make) -> None:
    expected = walk(make(memory=Memory(), distributions="normal")).report()
    shared = Memory(states=3, results=3)
    with ThreadPoolExecutor(3) as pool:
        sessions = [make(memory=shared, distributions="normal") for _ in range(3)]
        reports = [session.report() for session in pool.map(walk, sessions)]
    assert all(report == expected for report in reports)
