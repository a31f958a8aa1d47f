"""The small levels: right kernels on every distribution and chip, honest bounds, room for edits."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim import evaluate, execute, get_chip, load_kernel, parse, print_kernel, simulate
from m890sim.chip import CHIPS, M890_MINI
from m890sim.errors import BindError, TaskError
from m890sim.judge import row_errors
from m890sim.kernel.ir import Instr, Kernel, walk
from m890sim.session import KernelSession, legal_edits
from m890sim.workloads import (
    DISTRIBUTIONS,
    KERNELS,
    LEVELS,
    Case,
    ladder,
    lower_bound,
    lower_bound_cycles,
)
from m890sim.workloads.inputs import round_bf16
from m890sim.workloads.levels import find_level
from m890sim.workloads.levels.attention_head import AttentionHeadCase
from m890sim.workloads.levels.matmul import MatmulCase
from m890sim.workloads.levels.row_softmax import RowSoftmaxCase
from m890sim.workloads.levels.vector_add import VectorAddCase
from tests.level_cases import TINY_LEVELS

NAMES = [name for task in LEVELS.values() for name in (task.reference_name, task.expert_name)]
STEPS = [entry.name for task in LEVELS for entry in ladder(task)[1:-1]]
CASES = [case for task in LEVELS.values() for case in task.cases]


@cache
def cycles(kernel: str, case: Case, chip: str = "m890") -> int:
    """Cycles of a built-in kernel."""
    return simulate(load_kernel(kernel, chip), case, chip).cycles


def test_a_level_is_found_by_its_file_and_stands_where_its_number_says() -> None:
    assert [level.number for level in LEVELS.values()] == list(range(len(LEVELS)))
    with pytest.raises(
        TypeError, match=r"levels\.nothing must have a Level 'nothing' called LEVEL"
    ):
        find_level("nothing", SimpleNamespace())
    with pytest.raises(TypeError, match="must have a Level 'sum'"):
        find_level("sum", SimpleNamespace(LEVEL=LEVELS["matmul"]))
    assert find_level("matmul", SimpleNamespace(LEVEL=LEVELS["matmul"])) is LEVELS["matmul"]


def test_a_level_that_does_not_hold_together_is_refused() -> None:
    level = LEVELS["vector_add"]
    with pytest.raises(TaskError, match="unknown case of task vector_add: 'add-1x1'"):
        replace(level, fixed_cases=("add-1x1",)).check()
    with pytest.raises(ValueError, match="lengths must name symbols of the cases, not Q"):
        replace(level, lengths={"R": (1, 2), "Q": (1, 2)}).check()
    with pytest.raises(ValueError, match="tiny must be a case of vector_add, not of matmul"):
        replace(level, tiny=LEVELS["matmul"].tiny, lengths={}).check()


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", NAMES)
def test_kernel_is_right_on_every_case_and_distribution(name: str, chip: str) -> None:
    found = evaluate(name, KERNELS[name].task, chip)
    assert found.correct, [case.message for case in found.cases]
    assert max(case.error for case in found.cases) <= 0.006  # the gate allows 0.01


@pytest.mark.parametrize("name", STEPS)
def test_step_is_right_and_fits_every_preset(name: str) -> None:
    task = LEVELS[KERNELS[name].task]
    one = replace(task, cases=(task.tiny,))
    assert evaluate(name, one, distributions=["normal", "needle", "large_maxima"]).correct
    assert all(cycles(name, case, chip) for case in task.cases for chip in CHIPS)
    operations = {s.op for s in walk(load_kernel(name).body) if isinstance(s, Instr)}
    assert "fence" not in operations and f"step {KERNELS[name].step}" in KERNELS[name].text


@pytest.mark.parametrize("task", LEVELS.values(), ids=LEVELS)
def test_every_step_earns_its_place(task) -> None:
    means = [
        math.prod(
            cycles(task.reference_name, case) / cycles(entry.name, case) for case in task.cases
        )
        for entry in ladder(task.name)
    ]
    assert means == sorted(set(means)) and len(means) == 6


@pytest.mark.parametrize("name", [*NAMES, *STEPS])
def test_kernel_is_stored_as_printed(name: str) -> None:
    text = KERNELS[name].text
    assert print_kernel(parse(text)) == text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("task", LEVELS.values(), ids=LEVELS)
def test_reference_is_small_cautious_and_full_of_edits(task) -> None:
    # Environments of the levels reach 48 statements, and edits add some.
    statements = list(walk(task.reference.body))
    assert len(statements) <= 45
    names = {edit.name for edit in legal_edits(task.reference, task.name)}
    assert {"remove_fence", "set_slots", "set_queue", "pipeline", "split_transfer"} <= names
    assert len(names) >= 15
    assert "slots=" not in KERNELS[task.reference_name].text
    assert "queue=" not in KERNELS[task.reference_name].text


@pytest.mark.parametrize("task", LEVELS.values(), ids=LEVELS)
def test_cases_take_few_instructions(task) -> None:
    for case in task.cases:
        assert simulate(task.reference, case).instructions <= 800


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_kernel_is_right_on_a_tiny_case(name: str, distribution: str) -> None:
    case = TINY_LEVELS[KERNELS[name].task]
    inputs = case.make_inputs(1, distribution)
    (actual,) = execute(load_kernel(name), case, inputs).values()
    assert row_errors(actual, case.oracle(inputs)).max() <= 0.01


# A row of one element can cancel to anything: its relative error says nothing.
LEAST = {("attention_head", "elements"): 8}


@pytest.mark.parametrize("name", LEVELS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_kernels_are_right_on_any_shape(name: str, data: st.DataObject) -> None:
    level = LEVELS[name]
    extents = [f.name for f in fields(level.tiny) if type(getattr(level.tiny, f.name)) is int]
    assert extents
    drawn = {each: data.draw(st.integers(1, 70), each) for each in extents}
    least = {each: LEAST.get((name, each), 1) - 1 for each in extents}
    case = replace(level.tiny, **{each: drawn[each] + least[each] for each in extents})
    inputs = case.make_inputs(2, "needle")
    expected = case.oracle(inputs)
    for kernel in (level.reference_name, level.expert_name):
        (actual,) = execute(load_kernel(kernel), case, inputs).values()
        assert row_errors(actual, expected).max() <= 0.01, (kernel, case)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("case", TINY_LEVELS.values(), ids=TINY_LEVELS)
def test_oracle_agrees_with_a_loop(case: Case, distribution: str) -> None:
    inputs = case.make_inputs(3, distribution)
    plain = {
        name: value.astype(float).tolist() if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
    }
    expected = np.array(LEVELS[case.task].definition(plain))
    actual = case.oracle(inputs)
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("case", TINY_LEVELS.values(), ids=TINY_LEVELS)
def test_oracle_computes_the_rows_that_are_asked_for(case: Case) -> None:
    inputs = case.make_inputs()
    rows = np.zeros(case.output_shape[:-1], bool)
    rows[3] = True
    actual = case.oracle(inputs, rows)
    np.testing.assert_allclose(actual[3], case.oracle(inputs)[3], rtol=1e-12)
    assert np.isnan(actual[~rows]).all()
    with pytest.raises(ValueError, match="rows must have shape"):
        case.oracle(inputs, rows[1:])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("task", LEVELS.values(), ids=LEVELS)
def test_inputs_are_deterministic_rounded_and_shaped_as_the_parameters(
    task, distribution: str
) -> None:
    case = task.cases[-1]
    inputs, again = (case.make_inputs(3, distribution) for _ in range(2))
    other = case.make_inputs(4, distribution)
    assert set(inputs) == {param.name for param in task.params} - set(task.outputs)
    for param in task.params:
        value = inputs.get(param.name)
        if param.kind == "scalar":
            assert value == case.scalars[param.name] > 0
        elif value is not None:
            assert value.shape == tuple(case.symbols[dim.id] for dim in param.dims)
            assert value.dtype == np.float32
            assert np.isfinite(value).all()
            np.testing.assert_array_equal(value, round_bf16(value))
            np.testing.assert_array_equal(value, again[param.name])
            assert not np.array_equal(value, other[param.name])


def test_unknown_distribution_is_refused_with_the_list() -> None:
    for case in TINY_LEVELS.values():
        with pytest.raises(TaskError, match=r"'gauss'.*normal, peaked, needle, large_maxima"):
            case.make_inputs(0, "gauss")


def test_no_shape_is_empty() -> None:
    with pytest.raises(ValueError, match="columns must be 1 ... 67,108,864, not 0"):
        VectorAddCase("none", "vector_add", 3, 0)
    with pytest.raises(ValueError, match="inner must be 1 ..."):
        MatmulCase("none", "matmul", 3, 3, 0)
    with pytest.raises(ValueError, match="tokens must be 1 ..."):
        AttentionHeadCase("none", "attention_head", 0, 8)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bound_lies_below_the_expert_and_the_expert_below_the_reference(
    case: Case, chip: str
) -> None:
    task = LEVELS[case.task]
    bound = lower_bound_cycles(case, get_chip(chip))
    assert bound <= cycles(task.expert_name, case, chip) < cycles(task.reference_name, case, chip)


@pytest.mark.parametrize("name", LEVELS)
def test_expert_is_as_fast_as_promised(name: str) -> None:
    task = LEVELS[name]
    ratios = [
        cycles(task.reference_name, case) / cycles(task.expert_name, case) for case in task.cases
    ]
    assert math.prod(ratios) ** (1 / len(ratios)) >= task.speedup


def test_lower_bounds_by_hand() -> None:
    # launch 100, start 10, item 1, dispatch 1, issue 10; load 2 + 80 + 10 + 5; store 5 + 10 + 2 +
    # 80 + 10. Two cores: vector unit 32 narrow or 16 wide elements a cycle each, SFU 4; start-up
    # 10.
    around = 122 + 97 + 107
    add = lower_bound(VectorAddCase("a", "vector_add", 8, 90), M890_MINI)
    assert add.elements == 10 + 10  # 720 / (2 * 36)
    softmax = lower_bound(RowSoftmaxCase("s", "row_softmax", 8, 90), M890_MINI)
    # 712 exponentials at six passes or one of the SFU's elements, 720 others at one pass or one of
    # them: the vector unit takes the others, both the exponentials. 6 / 32 and 1 / 32 cycles.
    assert softmax.elements == 10 + 45  # (712 * 6 / 32 + 720 / 32) / (1 + 4 * 6 / 32) / 2
    product = lower_bound(MatmulCase("m", "matmul", 40, 36, 53), M890_MINI)
    # 1,440 sums leave ACC at 16 + 4 a cycle on each core; 32 * 32 + 32 + 4 products a cycle.
    assert (product.elements, product.matrix) == (10 + 36, 36)
    assert product.cycles == max(product.memory, around + 46)
    # One core: 105 weights (15 rows see 120 keys), a pass out of ACC and six: 1 / 16 + 6 / 32 of a
    # cycle each, so 4 + 4 a cycle; 2 * 105 * 32 products.
    head = lower_bound(AttentionHeadCase("h", "attention_head", 15, 32), M890_MINI)
    assert (head.elements, head.matrix) == (10 + 14, 7)


def test_attention_head_has_one_core_on_every_chip() -> None:
    task = LEVELS["attention_head"]
    for chip in CHIPS.values():
        timing = simulate(task.reference, task.cases[0], chip)
        assert timing.attribution.cycles.shape[0] == 1
        alone = simulate(task.reference, task.cases[0], chip.replace(cores=1))
        assert timing.cycles == alone.cycles
    matmul = LEVELS["matmul"]
    assert simulate(matmul.reference, matmul.cases[1]).attribution.cycles.shape[0] == 16


# A mistake of each kind -> replacements in the reference.
STORE_Z = "z[r * BR : r * BR + rows, :], zt[:rows]"
ADD_T = "add(s[:rows, :cols], s[:rows, :cols], t[:rows, :cols])"
MISTAKES = {
    "vector_add": {
        "last column": [(STORE_Z, "z[r * BR : r * BR + rows, : C - 1], zt[:rows, : C - 1]")],
        "last row of a block": [(STORE_Z, "z[r * BR : r * BR + rows - 1, :], zt[: rows - 1]")],
        "x twice": [("load(yt[:rows], y[", "load(yt[:rows], x[")],
        "x alone": [("add(a[:rows], a[:rows], b[:rows])", "add(a[:rows], a[:rows], 0.0)")],
        "first block for all": [("x[r * BR : r * BR + rows, :]", "x[:rows, :]")],
        "product": [("add(a[:rows]", "mul(a[:rows]")],
    },
    "row_softmax": {
        "no scale": [("mul(s[:rows], s[:rows], scale)", "mul(s[:rows], s[:rows], 1.0)")],
        "no maximum": [("row_max(m[:rows], s[:rows])", "fill(m[:rows], 0.0)")],
        "not divided": [("div(s[:rows], s[:rows], l[:rows])", "mul(s[:rows], s[:rows], 1.0)")],
        "sum without the last column": [
            ("row_sum(l[:rows], s[:rows])", "row_sum(l[:rows], s[:rows, : C - 1])")
        ],
        "mean": [("exp(s[:rows], s[:rows])", "fill(s[:rows], 1.0)")],
        "scores in bf16": [("s = sram(BR, C, f32)", "s = sram(BR, C, bf16)")],
    },
    "matmul": {
        "no tail of K": [("range(0, K, BK)", "range(0, K - 1, BK)"), ("K - k)", "K - 1 - k)")],
        "no first block": [("range(0, K, BK)", "range(BK, K, BK)")],
        "not added up": [(ADD_T, "copy(s[:rows, :cols], t[:rows, :cols])")],
        "rows of block 0": [("a[i * BM : i * BM + rows", "a[:rows")],
        "columns of block 0": [
            ("b[k : k + inner, j * BN : j * BN + cols]", "b[k : k + inner, :cols]")
        ],
        "sums in f16": [("s = acc(BM, BN)", "s = sram(BM, BN, f16)")],
    },
    "attention_head": {
        "no mask": [("causal_mask(s[:rows, :cols], row=i * BQ, col=j)", "fence()")],
        "mask one key late": [("row=i * BQ, col=j", "row=i * BQ + 1, col=j")],
        "mask one key early": [("row=i * BQ, col=j", "row=i * BQ, col=j + 1")],
        "unscaled": [("s[:rows, :cols], scale)", "s[:rows, :cols], 1.0)")],
        "no first block": [("range(0, i * BQ", "range(min(i, 1) * BK, i * BQ")],
        "no maximum": [("row_max(new_m[:rows], s[:rows, :cols])", "fill(new_m[:rows], 0.0)")],
        "output not rescaled": [("mul(out[:rows], out[:rows], alpha[:rows])", "fence()")],
        "sum not rescaled": [("fma(l[:rows], l[:rows], alpha[:rows],", "add(l[:rows], l[:rows],")],
        "not divided": [("div(ot[:rows], out[:rows], l[:rows])", "copy(ot[:rows], out[:rows])")],
        "values of block 0": [("v[j : j + cols, :]", "v[:cols, :]")],
    },
}
ALL_MISTAKES = [(level, mistake) for level, found in MISTAKES.items() for mistake in found]


def mutant(level: str, mistake: str) -> Kernel:
    """The level's reference with one mistake."""
    text = KERNELS[LEVELS[level].reference_name].text
    for old, new in MISTAKES[level][mistake]:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


@pytest.mark.parametrize(("level", "mistake"), ALL_MISTAKES)
def test_gate_catches_a_wrong_kernel(level: str, mistake: str) -> None:
    found = evaluate(mutant(level, mistake), level)
    assert not found.correct
    assert found.speedup < 2
    (worst,) = sorted(found.cases, key=lambda case: case.correct)[:1]
    assert worst.error > 0.015, worst.message  # one and a half times the tolerance


def test_a_row_of_a_matrix_is_named_in_the_message() -> None:
    (found,) = evaluate(mutant("vector_add", "x twice"), "vector_add", cases=["add-600x96"]).cases
    assert "rows are wrong: z[" in found.message
    (found,) = evaluate(
        mutant("vector_add", "last row of a block"), "vector_add", cases=["add-600x96"]
    ).cases
    assert "38 rows of z are not written whole, the first is z[15, :]; store every row" in (
        found.message
    )


@pytest.mark.parametrize("chip", ["m890", "m890-mini"])
@pytest.mark.parametrize("name", LEVELS)
def test_session_works_on_a_level(name: str, chip: str) -> None:
    session = KernelSession(name, chip=chip, verify="always")
    assert session.evaluate().speedup == 1.0
    fence = next(edit for edit in session.legal_edits() if edit.name == "remove_fence")
    session.apply(fence)
    entry = session.evaluate()
    assert entry.correct
    assert entry.speedup >= 1.0


@pytest.mark.parametrize("name", LEVELS)
def test_large_blocks_are_a_trap(name: str) -> None:
    # What pays at first ends in a refusal: the tiles no longer fit.
    session = KernelSession(name, chip="m890-mini", verify="never")
    for edit in session.legal_edits():
        if edit.name == "finer_items":  # before it, a block's size also says what an item is
            session.apply(edit)
    tunable = next(iter(session.kernel.tunables))
    edits = (e for e in session.legal_edits() if e.name == "set_tunable")
    double = next(e for e in edits if e.argument == (tunable, "double"))
    for _ in range(6):
        session.apply(double)
    assert session.evaluate().failed
    with pytest.raises(BindError, match="no room"):
        simulate(session.kernel, session.cases[0], "m890-mini")
