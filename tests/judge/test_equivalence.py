"""Exact equivalence: what it proves, what it refutes, and what it leaves undecided."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from m890sim import apply, legal_edits, parse
from m890sim.agents import AGENTS
from m890sim.cli import main
from m890sim.judge.equivalence import Equivalence, prove
from m890sim.kernel.ir import Kernel
from m890sim.session import KernelSession, run_script
from m890sim.workloads import KERNELS, AttentionCase, Case, Task, get_task, load_kernel

EXTEND_CASE = AttentionCase("algebra", "extend", (200, 0, 5), (150, 65, 1), 4, 2, 8, 4, True)
DECODE_CASE = AttentionCase(
    "algebra-decode", "decode", (200, 1, 64, 331), (1,) * 4, 8, 2, 8, 4, True
)
CASES: dict[str, Case] = {"extend": EXTEND_CASE, "decode": DECODE_CASE}


def replaced(kernel: str, *changes: tuple[str, str]) -> str:
    """The text of a built-in kernel with every `old` of the changes replaced by its `new`."""
    text = KERNELS[kernel].text
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def mutant(kernel: str, *changes: tuple[str, str]) -> Kernel:
    """The kernel of that text."""
    return parse(replaced(kernel, *changes))


def proof(kernel: Kernel, task: str = "extend", case: Case | None = None) -> Equivalence:
    """The answer for a kernel on a small case."""
    chosen: Task = get_task(task)
    return prove(kernel, chosen, CASES[task] if case is None else case, seed=11)


def scripted(task: str) -> Kernel:
    """The kernel that a script of docs/scripts makes of the task's reference."""
    path = Path(__file__).parents[2] / "docs" / "scripts" / f"{task}.txt"
    session = KernelSession(task, verify="never")
    run_script(session, path.read_text("utf-8"))
    return session.kernel


def wandered(name: str, seed: int, steps: int) -> Kernel:
    """A built-in kernel after random legal edits."""
    random = Random(seed)
    session = KernelSession(KERNELS[name].task, start=name, verify="never")
    kernel = session.kernel
    for _ in range(steps):
        edits = legal_edits(kernel)
        if edits:
            kernel = apply(kernel, random.choice(edits))
    return kernel


def test_prove_accepts_the_reference_on_a_public_case() -> None:
    task = get_task("extend")
    found = prove(load_kernel("attention_reference"), task, task.case("prefill-256"), seed=5)
    assert found.answer == "equivalent" and found.narrowed
    assert 0 < found.error_probability < 1e-12


@pytest.mark.parametrize("name", [n for n, e in KERNELS.items() if e.task in CASES])
def test_prove_accepts_every_attention_kernel(name: str) -> None:
    found = proof(load_kernel(name), KERNELS[name].task)
    assert found.answer == "equivalent", found.reason


@pytest.mark.parametrize("rows", ["8", "128"])
def test_prove_accepts_the_form_of_the_expert_for_many_tiles(rows: str) -> None:
    one_core = ("CORES: Tunable = 16", "CORES: Tunable = 1")
    kernel = mutant("attention_expert", one_core, ("BQ: Tunable = 128", f"BQ: Tunable = {rows}"))
    found = proof(kernel)
    assert found.answer == "equivalent", found.reason


@pytest.mark.parametrize("name", [n for n, e in KERNELS.items() if e.task not in CASES])
def test_prove_accepts_every_kernel_of_a_level(name: str) -> None:
    task = get_task(KERNELS[name].task)
    for case in task.cases:
        found = prove(load_kernel(name), task, case, seed=3)
        if type(case).specification is Case.specification:  # the level has none
            assert "has no definition over a field" in found.reason
        else:
            assert found.answer == "equivalent", (case.name, found.reason)


@pytest.mark.parametrize("name", ["extend", "decode"])
def test_prove_accepts_the_kernel_of_a_script(name: str) -> None:
    found = proof(scripted(name), name)
    assert found.answer == "equivalent", found.reason


@pytest.mark.long
@pytest.mark.parametrize("name", list(KERNELS))
def test_prove_accepts_every_kernel_on_every_public_case(name: str) -> None:
    task = get_task(KERNELS[name].task)
    for case in task.cases:
        found = prove(load_kernel(name), task, case, seed=17)
        assert found.answer == "equivalent", (case.name, found.reason)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["attention_reference", "decode_5_split"])
def test_prove_accepts_a_kernel_after_random_edits(name: str, seed: int) -> None:
    found = proof(wandered(name, seed, steps=10), KERNELS[name].task)
    assert found.answer == "equivalent", found.reason


@pytest.mark.long
@pytest.mark.parametrize("agent", list(AGENTS))
@pytest.mark.parametrize("task", ["extend", "decode", "attention_head", "row_softmax", "matmul"])
def test_prove_accepts_what_a_search_leaves(agent: str, task: str, tmp_path: Path) -> None:
    found_in = tmp_path / "run"
    arguments = ["--agent", agent, "--evaluations", "100", "--seed", "0", "--out", str(found_in)]
    assert main(["optimize", task, *arguments]) == 0
    kernel = load_kernel(found_in / "best.py")
    for case in get_task(task).cases:
        found = prove(kernel, get_task(task), case, seed=17)
        assert found.answer == "equivalent", (case.name, found.reason)


# The parts of a split cache as outputs of their own, merged by the logarithms of their sums.
LOG_SUM_EXP = replaced(
    "decode_5_split",
    (
        "            copy(ot, out)\n",
        "            div(ot, out, l)\n            log2(l, l)\n            fma(m, l, LN2, m)\n",
    ),
    ("            store(part_l[b, h * G : h * G + G, x, :], l, queue=3)\n", ""),
    ("        load(pl[:n], part_l[b, h, :n, :], queue=1)\n", ""),
    ("        mul(pl[:n], pl[:n], weight[:n])\n", ""),
    ("col_sum(total, pl[:n])", "col_sum(total, weight[:n])"),
    ("        pl = sram(N, 1, f32, slots=2)\n", ""),
    ("    part_l = hbm(B, HQ, N, 1, f32)\n", ""),
)

SCALED = "mul(s[:rows, :cols], s[:rows, :cols], scale)"
RESCALED = "mul(out[:rows], out[:rows], alpha[:rows])"
DIVIDED = "div(ot[:rows], out[:rows], l[:rows])"
MASKED = "causal_mask(s[:rows, :cols], row=i * BQ, col=j)"
# What is wrong of a kernel, all of it in few rows or by little -> replacements in its text.
TINY: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "the first key of one sequence": (
        "attention_reference",
        (("range(0, prefix, BK)", "range(b == 0, prefix, BK)"),),
    ),
    "one key too many in one row": (
        "attention_reference",
        (
            (
                MASKED,
                "causal_mask(s[:3, :cols], row=i * BQ, col=j)\n"
                "                causal_mask(s[3 : 4, :cols], row=i * BQ + 4, col=j)\n"
                "                causal_mask(s[4 : rows, :cols], row=i * BQ + 4, col=j)",
            ),
            ("if i * BQ < length:", "if i * BQ + 4 < length:"),
        ),
    ),
    "a scale off by a thousandth": (
        "attention_reference",
        ((SCALED, SCALED.replace("scale)", "scale * 1.001)")),),
    ),
    "one element off by 5%": (
        "attention_reference",
        ((DIVIDED, DIVIDED + "\n            mul(ot[:1, 3:4], ot[:1, 3:4], 1.05)"),),
    ),
    "one row of the output not rescaled": (
        "attention_reference",
        ((RESCALED, "mul(out[1:rows], out[1:rows], alpha[1:rows])"),),
    ),
    "scores clamped at 0": (
        "attention_reference",
        (
            (
                SCALED,
                SCALED + "\n                max(s[:rows, :cols], s[:rows, :cols], 0.0)",
            ),
        ),
    ),
    "scores clamped at 3": (
        "attention_reference",
        (
            (
                SCALED,
                SCALED + "\n                min(s[:rows, :cols], s[:rows, :cols], 3.0)",
            ),
        ),
    ),
    "the wrong base": ("attention_reference", (("exp(p[", "exp2(p["),)),
    "the last key of long sequences": (
        "decode_reference",
        (("range(0, length, BK)", "range(0, length - (length > 300), BK)"),
         ("min(BK, length - j)", "min(BK, length - (length > 300) - j)")),
    ),
    "a page of another sequence": (
        "decode_reference",
        (("v_cache[kv_indices[start + j :", "v_cache[kv_indices[start + j - (b == 3) :"),
         ("start + j + cols], h // G, :])\n            fence()\n            mul(out",
          "start + j - (b == 3) + cols], h // G, :])\n            fence()\n            mul(out")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TINY))
def test_prove_refutes_a_tiny_mistake(name: str) -> None:
    kernel, changes = TINY[name]
    found = proof(mutant(kernel, *changes), KERNELS[kernel].task)
    assert found.answer == "different", found.reason
    assert found.output == "o" and found.element is not None
    assert found.error_probability == 1.0


def test_prove_refutes_one_key_of_8192_dropped_in_one_sequence() -> None:
    case = AttentionCase("long", "decode", (8192, 70, 8192), (1,) * 3, 2, 1, 8, 16, True)
    wrong = mutant(
        "decode_reference",
        ("range(0, length, BK)", "range(0, length - (b == 2), BK)"),
        ("min(BK, length - j)", "min(BK, length - (b == 2) - j)"),
    )
    found = proof(wrong, "decode", case)
    assert found.answer == "different" and found.element == (2, 0, 0)
    assert "as 15 more of 48 elements do" in found.reason
    assert "store (work item b=2, h=0)" in found.instruction


def test_prove_refutes_every_fixed_multiple_of_an_order() -> None:
    # With one fixed Q, scores times Q + 1 would look like scores; Q is drawn for every seed.
    from m890sim.execute.fields.primes import is_prime

    half = next(n for n in range(2**25 + 1, 2**26, 2) if is_prime(n) and is_prime(2 * n + 1))
    changed = SCALED.replace("scale)", f"scale * {half + 1})")
    assert proof(mutant("attention_reference", (SCALED, changed))).answer == "different"


def test_prove_accepts_a_finite_first_maximum_and_a_finite_mask() -> None:
    fill = "fill(m[:rows], -inf)"
    first = mutant("attention_reference", (fill, "fill(m[:rows], -1e30)"))
    assert proof(first).answer == "equivalent"
    masks = [
        ("s = acc(BQ, BK)\n", "s = acc(BQ, BK)\n            far = sram(BQ, BK, f32)\n"),
        (
            MASKED,
            "fill(far[:rows, :cols], 0.0)\n"
            "                causal_mask(far[:rows, :cols], row=i * BQ, col=j)\n"
            "                max(far[:rows, :cols], far[:rows, :cols], -1e30)\n"
            "                add(s[:rows, :cols], s[:rows, :cols], far[:rows, :cols])",
        ),
        (fill, "fill(m[:rows], -1e30)"),
    ]
    found = proof(mutant("attention_reference", *masks))
    assert found.answer == "equivalent", found.reason


def test_prove_lists_the_guards_that_it_assumes_inactive() -> None:
    guarded = mutant(
        "attention_reference", (DIVIDED, f"max(l[:rows], l[:rows], 1e-30)\n            {DIVIDED}")
    )
    found = proof(guarded)
    assert found.answer == "equivalent", found.reason
    assert len(found.assumed) == 1 and found.assumed[0].endswith(": max")


def test_prove_accepts_a_merge_through_log_sum_exp() -> None:
    found = proof(parse(LOG_SUM_EXP), "decode")
    assert found.answer == "equivalent", found.reason


def test_prove_leaves_a_polynomial_undecided() -> None:
    lines = (
        "mul(p[:rows, :cols], s[:rows, :cols], 0.1666667)",
        "add(p[:rows, :cols], p[:rows, :cols], 0.4999999)",
        "fma(p[:rows, :cols], p[:rows, :cols], s[:rows, :cols], 1.0)",
    )
    exponential = "exp(p[:rows, :cols], s[:rows, :cols])"
    found = proof(mutant("attention_reference", (exponential, "\n                ".join(lines))))
    assert found.answer == "not decided"
    assert "as a polynomial does" in found.reason and "<kernel>:71:17: fma" in found.reason


def test_prove_leaves_an_exponential_of_an_exponential_undecided() -> None:
    found = proof(
        mutant("attention_reference", (DIVIDED, f"exp(l[:rows], l[:rows])\n{12 * ' '}{DIVIDED}"))
    )
    assert found.answer == "not decided"
    assert "has no exponent in the field" in found.reason and ": exp (work item" in found.reason


def test_prove_leaves_a_task_without_definition_undecided() -> None:
    class Other(AttentionCase):
        def specification(self, field: object, inputs: object) -> None:
            return None

    case = Other("other", "extend", (0,), (9,), 1, 1, 8)
    found = proof(load_kernel("attention_reference"), case=case)
    assert found.answer == "not decided" and "no definition over a field" in found.reason


def test_prove_tells_a_trap() -> None:
    wrong = mutant("attention_reference", ("cols = min(BK, prefix - j)", "cols = BK"))
    found = proof(wrong)
    assert found.answer == "different" and "the kernel traps" in found.reason
    assert "E407" in found.reason


def test_prove_looks_at_the_whole_case_where_a_kernel_depends_on_the_elements() -> None:
    # Right with four elements a head, one key short with eight.
    wrong = mutant("attention_reference", ("range(0, prefix, BK)", "range(D == 8, prefix, BK)"))
    found = proof(wrong)
    assert found.answer == "different" and not found.narrowed
    assert proof(wrong, case=EXTEND_CASE.narrowed()).answer == "equivalent"


def test_prove_sees_no_wrong_maximum() -> None:
    # Any maximum cancels in exact arithmetic: the watch is there for that.
    wrong = mutant(
        "attention_reference",
        ("row_max(new_m[:rows], s[:rows, :cols])", "fill(new_m[:rows], 0.0)"),
    )
    assert proof(wrong).answer == "equivalent"


def test_prove_refuses_no_draws() -> None:
    with pytest.raises(ValueError, match="draws must be at least 1, not 0"):
        prove(load_kernel("attention_reference"), get_task("extend"), EXTEND_CASE, seed=1, draws=0)


def test_prove_gives_the_same_answer_again() -> None:
    kernel, changes = TINY["a scale off by a thousandth"]
    first, second = (proof(mutant(kernel, *changes)) for _ in range(2))
    assert first == second and first.as_dict()["equivalent"] is False
