"""Exact equivalence: what it proves, what it refutes, and what it leaves undecided."""

from __future__ import annotations

import pytest

from m890sim import parse
from m890sim.judge.equivalence import Equivalence, prove
from m890sim.kernel.ir import Kernel
from m890sim.workloads import KERNELS, AttentionCase, Case, Task, get_task, load_kernel

EXTEND_CASE = AttentionCase("algebra", "extend", (200, 0, 5), (150, 65, 1), 4, 2, 8, 4, True)
DECODE_CASE = AttentionCase(
    "algebra-decode", "decode", (200, 1, 64, 331), (1,) * 4, 8, 2, 8, 4, True
)
CASES: dict[str, Case] = {"extend": EXTEND_CASE, "decode": DECODE_CASE}


def mutant(kernel: str, *changes: tuple[str, str]) -> Kernel:
    """A built-in kernel with every `old` of the changes replaced by its `new`."""
    text = KERNELS[kernel].text
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


def proof(kernel: Kernel, task: str = "extend", case: Case | None = None) -> Equivalence:
    """The answer for a kernel on a small case."""
    chosen: Task = get_task(task)
    return prove(kernel, chosen, CASES[task] if case is None else case, seed=11)


def test_prove_accepts_the_reference_on_a_public_case() -> None:
    task = get_task("extend")
    found = prove(load_kernel("attention_reference"), task, task.case("prefill-256"), seed=5)
    assert found.answer == "equivalent" and found.narrowed
    assert 0 < found.error_probability < 1e-12


@pytest.mark.parametrize("name", [n for n, e in KERNELS.items() if e.task in CASES])
def test_prove_accepts_every_attention_kernel(name: str) -> None:
    found = proof(load_kernel(name), KERNELS[name].task)
    assert found.answer == "equivalent", found.reason


def test_prove_refutes_a_dropped_key() -> None:
    wrong = mutant("attention_reference", ("range(0, prefix, BK)", "range(1, prefix, BK)"))
    found = proof(wrong)
    assert found.answer == "different" and found.element is not None
    assert found.error_probability == 1.0
