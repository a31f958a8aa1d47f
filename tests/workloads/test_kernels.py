"""The built-in kernels: text, registry, loading, and right results on small and hostile shapes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim import evaluate, execute, load_kernel, parse, print_kernel
from m890sim.errors import LanguageError, TaskError
from m890sim.judge import row_errors
from m890sim.kernel.ir import Instr, walk
from m890sim.workloads import KERNELS, TASKS, AttentionCase, get_kernel, ladder


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_text_is_stable_under_printing(name):
    kernel = load_kernel(name)
    text = print_kernel(kernel)
    assert parse(text) == kernel
    assert print_kernel(parse(text)) == text
    assert kernel.name == name


def test_registry_and_tasks_agree():
    for name, entry in KERNELS.items():
        assert entry.name == name
        assert entry.task in TASKS
        assert entry.file == f"{name}.py"
        assert "\n" not in entry.idea
    for task in TASKS.values():
        steps = ladder(task.name)
        assert steps[0].name == task.reference_name
        assert [entry.step for entry in steps] == list(range(len(steps)))


@pytest.mark.parametrize("name", ["attention_reference", "decode_reference"])
def test_references_are_a_cautious_first_port(name):
    instructions = [s for s in walk(load_kernel(name).body) if isinstance(s, Instr)]
    queues = {s.keyword("queue", 0) for s in instructions if s.op in ("load", "store")}
    assert queues == {0}
    assert "slots" not in KERNELS[name].text
    fenced = ("load", "store", "matmul", "exp", "div")
    for before, after in pairwise(instructions):
        assert before.op not in fenced or after.op == "fence"


SHAPES = st.lists(st.tuples(st.integers(0, 140), st.integers(1, 140)), min_size=1, max_size=3)


@settings(max_examples=12, deadline=None)
@given(
    SHAPES, st.sampled_from([(1, 1), (4, 2), (6, 3)]), st.sampled_from([1, 3, 16]), st.booleans()
)
def test_extend_kernels_are_right_on_ragged_shapes(lengths, heads, page, shuffled):
    cached, queries = zip(*lengths, strict=True)
    case = AttentionCase("any", "extend", cached, queries, *heads, 16, page, shuffled)
    inputs = case.make_inputs(1, "needle")
    expected = case.oracle(inputs)
    for name in ("attention_reference", "attention_textbook"):
        actual = execute(load_kernel(name), case, inputs)["o"]
        assert row_errors(actual, expected).max() <= 0.01


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=3),
    st.sampled_from([(1, 1), (4, 2), (6, 3)]),
    st.sampled_from([1, 3, 16]),
)
def test_decode_reference_is_right_on_ragged_shapes(lengths, heads, page):
    case = AttentionCase(
        "any", "decode", tuple(lengths), (1,) * len(lengths), *heads, 16, page, True
    )
    inputs = case.make_inputs(1, "normal")
    actual = execute(load_kernel("decode_reference"), case, inputs)["o"]
    assert row_errors(actual, case.oracle(inputs)).max() <= 0.01


@pytest.mark.parametrize(
    ("name", "task", "case"),
    [
        ("attention_reference", "extend", "prefill-256"),
        ("attention_textbook", "extend", "extend-ragged"),
        ("decode_reference", "decode", "decode-1x16384"),
    ],
)
def test_kernel_is_right_on_a_case_of_the_suite(name, task, case):
    (found,) = evaluate(name, task, cases=[case], distributions=["normal"]).cases
    assert found.correct, found.message
    assert found.cycles > found.lower_bound_cycles


def test_load_kernel_takes_a_name_or_a_path(tmp_path):
    by_name = load_kernel("decode_reference")
    path = tmp_path / "mine.py"
    path.write_text(KERNELS["decode_reference"].text)
    assert load_kernel(path) == load_kernel(str(path)) == by_name
    assert get_kernel("decode_reference").text == path.read_text()


def test_load_kernel_refuses_unknown_names_and_missing_files(tmp_path):
    with pytest.raises(
        TaskError, match=r"unknown kernel: 'decode_refrence'; did you mean decode_ref"
    ):
        load_kernel("decode_refrence")
    with pytest.raises(TaskError, match="no kernel file"):
        load_kernel("nowhere/decode_reference.py")
    with pytest.raises(TaskError, match="did you mean"):
        get_kernel("attention")
    bad = tmp_path / "bad.py"
    bad.write_text("import os\n")
    with pytest.raises(LanguageError):
        load_kernel(bad)
