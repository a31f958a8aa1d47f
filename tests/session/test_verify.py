"""The gate: when it runs, and what a wrong kernel counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from m890sim import parse
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.schedule import Edit
from m890sim.session import KernelSession, Memory
from m890sim.workloads import KERNELS
from tests.session.toys import CASE, OTHER_CASE, fences, mask

Make = Callable[..., KernelSession]
SLOWER = Edit("set_tile", (), 16)


def mutant(old: str, new: str) -> Kernel:
    """The reference kernel with a mistake."""
    text = KERNELS["attention_reference"].text
    assert old in text
    return parse(text.replace(old, new), filename="mutant.py")


WRONG = mutant("causal_mask(s[:rows, :cols], row=i * BQ, col=j)", "fence()")
# Faster than the reference, so that it would be the best.
FAST_AND_WRONG = mutant("range(0, i * BQ + rows, BK)", "range(0, i * BQ, BK)")
SLOTS = ("kt = sram(BK, D, bf16)", "kt = sram(BK, D, bf16, slots=2)")
TRAPS = mutant("q[first + i * BQ : first + i * BQ + rows", "q[first + 99 : first + 99 + rows")


def test_best_checks_only_what_would_be_the_best(make: Make) -> None:
    memory = Memory()
    session = make(memory=memory)
    assert session.evaluate().correct is True
    assert memory.judged == 1
    session.apply(SLOWER)
    slow = session.evaluate()
    assert slow.correct is None and not slow.accepted and slow.speedup < 1.0
    assert memory.judged == 1
    session.undo()
    session.apply(fences(session.kernel)[0])
    assert session.evaluate().correct is True
    assert memory.judged == 1, "without a fence it computes what was judged"
    assert session.best is not None and session.best.index == 2
    assert session.best_kernel is session.kernel
    assert session.best_speedup == session.best.speedup > 1.0


def test_a_verdict_on_values_is_shared_and_one_on_room_is_not(make: Make) -> None:
    memory = Memory()
    session = make(memory=memory, verify="always")
    session.evaluate()
    session.load(mutant(*SLOTS))
    assert session.evaluate().correct is True
    assert memory.judged == 1
    session.load(FAST_AND_WRONG)
    first = session.evaluate()
    assert memory.judged == 2
    session.load(parse(print_kernel(FAST_AND_WRONG).replace(*SLOTS)))
    again = session.evaluate()
    assert memory.judged == 2
    assert (first.correct, first.message) == (again.correct, again.message)
    session.load(mutant("bf16)", "bf16, slots=999)"))
    refused = session.evaluate()
    assert refused.correct is not True and refused.code == "E301"


def test_equal_cycles_do_not_replace_the_best(make: Make) -> None:
    session = make(verify="never", start="attention_1_no_fences")
    first = session.evaluate()
    session.load(parse(KERNELS["attention_1_no_fences"].text.replace("block_l", "partial")))
    second = session.evaluate()
    assert second.digest != first.digest and second.cycles == first.cycles
    assert session.best is first


def test_gains_checks_what_is_faster_than_the_reference(make: Make) -> None:
    memory = Memory()
    session = make(memory=memory, verify="gains")
    assert session.evaluate().correct is None
    session.apply(SLOWER)
    assert session.evaluate().correct is None
    assert memory.judged == 0 and session.best is None and session.best_speedup == 1.0
    session.load(FAST_AND_WRONG)
    entry = session.evaluate()
    assert entry.correct is False and not entry.accepted and session.best is None
    session.restart()
    session.load("attention_1_no_fences")
    entry = session.evaluate()
    assert entry.correct is True and session.best is entry and entry.speedup > 1.0
    assert memory.judged == 2
    with pytest.raises(ValueError, match="this session has verify='gains', and 'never' checks"):
        session.evaluate("never")


@pytest.mark.parametrize("verify", ["best", "always"])
def test_wrong_kernel_is_never_the_best(make: Make, verify: str) -> None:
    session = make(verify=verify)
    session.evaluate()
    session.load(FAST_AND_WRONG)
    entry = session.evaluate()
    assert entry.correct is False and entry.code == "wrong" and not entry.accepted
    assert entry.speedup == 1.0 and entry.outcome.speedup > 1.0
    assert entry.message.startswith("toy: distribution 'normal', seed 0: ")
    assert session.best is not None and session.best.index == 0


def test_always_checks_slow_kernels_too(make: Make) -> None:
    memory = Memory()
    session = make(memory=memory, verify="always")
    session.evaluate()
    session.apply(SLOWER)
    assert session.evaluate().correct is True
    assert memory.judged == 2
    session.apply(mask(session.kernel))
    assert session.evaluate().correct is False


def test_never_checks_nothing(make: Make) -> None:
    memory = Memory()
    session = make(memory=memory, verify="never")
    session.evaluate()
    session.load(FAST_AND_WRONG)
    entry = session.evaluate()
    assert memory.judged == 0
    assert entry.correct is None and entry.accepted
    assert session.best is entry and entry.speedup > 1.0


def test_never_forgets_what_other_sessions_know(make: Make) -> None:
    memory = Memory()
    for _ in range(2):
        session = make(memory=memory, verify="always", start=FAST_AND_WRONG)
        assert session.evaluate().correct is False
        session = make(memory=memory, verify="never", start=FAST_AND_WRONG)
        assert session.evaluate().correct is None


def test_later_check_of_a_wrong_best_gives_the_place_to_the_next(make: Make) -> None:
    session = make(verify="never")
    session.evaluate()
    session.apply(fences(session.kernel)[0])
    session.evaluate()
    right = session.kernel
    session.load(FAST_AND_WRONG)
    assert session.evaluate() is session.best
    for verify in ("best", "always", "never"):
        other = session.clone()
        entry = other.evaluate(verify)
        if verify == "never":
            assert other.best is entry and entry.correct is None
            continue
        assert entry.correct is False and other.log[2] is entry
        assert other.best is other.log[1] and other.best_kernel is right
        assert other.spent == 3, "a check of a known kernel is no evaluation"


def test_later_check_of_a_right_kernel_is_noted(make: Make) -> None:
    session = make(verify="never")
    first = session.evaluate()
    assert first.correct is None
    checked = session.evaluate("best")
    assert checked.correct is True and session.log == (checked,) and session.best is checked
    assert session.evaluate("never") is checked


def test_slow_kernel_may_be_accepted_later(make: Make) -> None:
    session = make()
    session.evaluate()
    session.apply(SLOWER)
    assert not session.evaluate().accepted
    assert session.evaluate("always").accepted
    assert session.best is not None and session.best.index == 0


def test_kernel_that_traps_has_the_code(make: Make) -> None:
    session = make(start=TRAPS, verify="always")
    entry = session.evaluate()
    assert entry.correct is False and entry.speedup == 1.0
    assert entry.code == "E404"
    assert entry.message.startswith("toy: ") and "mutant.py" not in entry.message
    assert entry.cycles["toy"] is not None, "it can be timed"


def test_gate_looks_at_every_case(make: Make) -> None:
    # Wrong only where a prefix is cached, which the first case has not.
    wrong = mutant("range(0, prefix, BK)", "range(BK, prefix, BK)")
    session = make(start=wrong, cases=(OTHER_CASE, CASE), verify="always")
    entry = session.evaluate()
    assert entry.correct is False and entry.message.startswith("toy: ")
    alone = make(start=wrong, cases=OTHER_CASE, verify="always").evaluate()
    assert alone.correct is True


@pytest.mark.parametrize("verify", ["best", "always", "never"])
def test_kernel_that_the_language_refuses_is_not_even_timed(make: Make, verify: str) -> None:
    memory = Memory()
    session = make(memory=memory, verify=verify)
    before = memory.timed
    session.apply(Edit("set_tile", (), 0))
    entry = session.evaluate()
    assert entry.correct is False and not entry.accepted and entry.code.startswith("E")
    assert entry.cycles == {"toy": None} and memory.timed == before
    assert session.best is None


def test_legal_edits_vouch_for_what_they_make(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make(memory=Memory(), verify="never")
    session.apply(session.legal_edits()[0])
    monkeypatch.setattr(
        "m890sim.session.memory.check_built", lambda _kernel: pytest.fail("checked")
    )
    assert session.evaluate().accepted
