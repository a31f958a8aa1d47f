"""The ladders: canonical, right, every step earns its place, experts reach their targets."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim import (
    evaluate,
    execute,
    get_chip,
    get_task,
    load_kernel,
    parse,
    print_kernel,
    simulate,
)
from m890sim.judge import row_errors
from m890sim.kernel.ir import Instr, Kernel, walk
from m890sim.timing import Timing
from m890sim.workloads import KERNELS, SUITE, AttentionCase, ladder, lower_bound_cycles

# The references have their own tests; a step is what comes after one.
STEPS = [entry.name for task in SUITE for entry in ladder(task)[1:]]
# Lengths around the tile sizes, a single token, an empty prefix, a last pair of key heads with one
# member; tiles whose rows begin before the block of their diagonal.
HOSTILE = {
    "extend": AttentionCase("hostile", "extend", (0, 130, 64), (141, 1, 37), 6, 3, 16, 3, True),
    "decode": AttentionCase("hostile", "decode", (300, 1, 129), (1, 1, 1), 6, 3, 16, 3, True),
}


@cache
def timed(kernel: str, case: str, chip: str = "m890") -> Timing:
    """Timing of a built-in kernel on a case of its task."""
    task = get_task(KERNELS[kernel].task)
    return simulate(load_kernel(kernel), task.case(case), chip)


def speedup(kernel: str, chip: str = "m890") -> float:
    """Geometric mean over the task's cases of reference cycles / kernel cycles."""
    task = get_task(KERNELS[kernel].task)
    ratios = [
        timed(task.reference_name, case.name, chip).cycles / timed(kernel, case.name, chip).cycles
        for case in task.cases
    ]
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def share(kernel: str, case: str, engine: str, cause: str) -> float:
    """Share of an engine's time that goes to a cause, on the average core."""
    timing = timed(kernel, case)
    found = timing.attribution.engine(engine)
    return found.get(cause, 0) / sum(found.values())


@pytest.mark.parametrize("name", STEPS)
def test_step_is_stored_as_printed(name):
    text = KERNELS[name].text
    assert print_kernel(parse(text)) == text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", STEPS)
def test_step_says_its_number_and_runs_without_a_fence(name):
    entry = KERNELS[name]
    assert f"step {entry.step}" in entry.text.split("from m890sim.lang")[0]
    assert name.endswith("_expert") or f"_{entry.step}_" in name
    operations = [s.op for s in walk(load_kernel(name).body) if isinstance(s, Instr)]
    assert "fence" not in operations


@pytest.mark.parametrize("name", STEPS)
def test_step_is_right_on_hostile_shapes(name):
    case = HOSTILE[KERNELS[name].task]
    inputs = case.make_inputs(1, "needle")
    actual = execute(load_kernel(name), case, inputs)["o"]
    assert row_errors(actual, case.oracle(inputs)).max() <= 0.01


LENGTHS = st.lists(st.tuples(st.integers(0, 150), st.integers(1, 150)), min_size=1, max_size=4)
HEADS = st.sampled_from([(1, 1), (3, 3), (6, 3), (8, 2)])


def attention_expert(cores: int, rows: int) -> Kernel:
    """The extend expert for so many cores and tiles of so many rows."""
    text = KERNELS["attention_expert"].text
    for old, new in (("CORES: Tunable = 16", cores), ("BQ: Tunable = 128", rows)):
        assert old in text
        text = text.replace(old, f"{old.split(' =')[0]} = {new}")
    return parse(text)


# Small cases take the form with one tile; for one core they take the pair.
FORMS = {"one tile": (16, 128), "pair": (1, 128), "pair of small tiles": (1, 8)}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=10, deadline=None)
@given(LENGTHS, HEADS, st.sampled_from([1, 3, 16]))
def test_attention_expert_is_right_on_generated_shapes(form, lengths, heads, page):
    cached, new = zip(*lengths, strict=True)
    case = AttentionCase("any", "extend", cached, new, *heads, 16, page, True)
    inputs = case.make_inputs(2, "needle")
    actual = execute(attention_expert(*FORMS[form]), case, inputs)["o"]
    assert row_errors(actual, case.oracle(inputs)).max() <= 0.01


def test_attention_expert_takes_the_form_that_is_faster():
    task = get_task("extend")
    texts = {
        "one tile": ("P > 0", "P >= 0"),
        "pair": ("and P > 0", "and P < 0"),
    }
    cycles = {
        name: {
            case: simulate(
                parse(KERNELS["attention_expert"].text.replace(*change)), task.case(case)
            )
            for case in ("prefill-256", "extend-1920+128")
        }
        for name, change in texts.items()
    }
    for case, best in (("prefill-256", "pair"), ("extend-1920+128", "one tile")):
        taken = timed("attention_expert", case).cycles
        assert taken == cycles[best][case].cycles
        assert all(taken <= found[case].cycles for found in cycles.values())


@settings(max_examples=10, deadline=None)
@given(LENGTHS, HEADS, st.sampled_from([1, 3, 16]))
def test_decode_expert_is_right_on_generated_shapes(lengths, heads, page):
    keys = tuple(cached + new for cached, new in lengths)
    case = AttentionCase("any", "decode", keys, (1,) * len(keys), *heads, 16, page, True)
    inputs = case.make_inputs(2, "needle")
    actual = execute(load_kernel("decode_expert"), case, inputs)["o"]
    assert row_errors(actual, case.oracle(inputs)).max() <= 0.01


@pytest.mark.parametrize("task", SUITE)
def test_expert_ends_its_ladder(task):
    assert ladder(task)[-1].name == get_task(task).expert_name


@pytest.mark.parametrize("task", SUITE)
def test_every_step_earns_its_place(task):
    speedups = {entry.name: speedup(entry.name) for entry in ladder(task)}
    values = list(speedups.values())
    assert values == sorted(values), speedups
    assert len(set(values)) == len(values)


def test_experts_reach_their_targets():
    assert speedup("attention_expert") >= 12
    assert speedup("decode_expert") >= 10
    case = get_task("extend").case("prefill-2048")
    reference = timed("attention_reference", case.name).cycles
    cycles = timed("attention_expert", case.name).cycles
    bound = lower_bound_cycles(case, get_chip("m890"))
    assert reference / cycles >= 20
    assert math.log(reference / cycles) / math.log(reference / bound) >= 0.6


@pytest.mark.parametrize("name", STEPS)
def test_step_runs_on_the_lean_chip(name):
    task = get_task(KERNELS[name].task)
    case = task.cases[0]
    cycles = timed(name, case.name, "m890-lean").cycles
    assert lower_bound_cycles(case, get_chip("m890-lean")) <= cycles
    assert cycles < timed(task.reference_name, case.name, "m890-lean").cycles


def test_polynomial_and_then_ping_pong_end_the_wait_for_the_sfu():
    case = "prefill-2048"
    before = share("attention_11_spread", case, "vector", "operand from sfu")
    assert before > 0.3
    assert share("attention_12_polynomial", case, "vector", "operand from sfu") < before / 4
    # Two tiles in flight fill the wait, of the vector unit and of the SFU.
    assert share("attention_13_ping_pong", case, "vector", "operand from sfu") < before / 4
    assert timed("attention_13_ping_pong", case).attribution.limiter == "sfu"


def test_the_product_no_longer_waits_for_the_running_sums():
    case = "prefill-2048"
    assert share("attention_5_softmax", case, "matrix", "operand from vector") > 0.3
    assert share("attention_6_sums", case, "matrix", "operand from vector") < 0.05


@pytest.mark.parametrize("task", SUITE)
def test_references_lose_their_time_at_fences(task):
    name = get_task(task).reference_name
    case = get_task(task).cases[0].name
    waits = timed(name, case).attribution.engine("vector")
    causes = {cause: n for cause, n in waits.items() if cause != "nothing left"}
    assert max(causes, key=lambda cause: causes[cause]) == "fence"


@pytest.mark.long
@pytest.mark.parametrize("name", STEPS)
def test_step_is_right_on_every_case_and_distribution(name):
    found = evaluate(name, KERNELS[name].task)
    assert found.correct, [case.message for case in found.cases]
