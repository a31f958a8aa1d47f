"""Every public function takes a value or refuses it in words: no other error and no hang.

One table of functions with arguments that they take; each parameter gets every value of JUNK.
"""

from __future__ import annotations

import dataclasses
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import m890sim
import m890sim.messages
from m890sim import bind as binding
from m890sim import (
    exercises,
    get_chip,
    get_task,
    judge,
    language,
    load_kernel,
    timing,
    workloads,
)
from m890sim.errors import M890Error
from m890sim.exercises.predictions import read_prediction
from m890sim.kernel import ir
from m890sim.workloads import AttentionCase, Case, Task
from m890sim.workloads.levels.attention_head import AttentionHeadCase
from m890sim.workloads.levels.matmul import MatmulCase
from m890sim.workloads.levels.row_softmax import RowSoftmaxCase
from m890sim.workloads.levels.vector_add import VectorAddCase
from tests.workloads import own_tasks

SECONDS = 20  # of one call, on a busy machine
REFUSALS = (TypeError, ValueError, M890Error)


class Evil:
    """Says nothing of itself without an error."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class Text(str):
    def __repr__(self) -> str:
        raise RuntimeError("no")


def deep(levels: int = 3000) -> Any:
    value: Any = ()
    for _ in range(levels):
        value = (value,)
    return value


def shared(levels: int = 40) -> ir.Expr:
    expr: ir.Expr = ir.Const(1)
    for _ in range(levels):
        expr = ir.Op("+", (expr, expr))
    return expr


KERNEL = load_kernel("vector_add_reference")
CASE = VectorAddCase("tiny", "vector_add", 4, 8)
TASK = dataclasses.replace(get_task("vector_add"), cases=(CASE,))
CHIP = get_chip("m890")
INPUTS = CASE.make_inputs()
ATTENTION = AttentionCase("tiny", "extend", (5, 0), (3, 4), 2, 1, 4, 2, True)
HEAD = AttentionHeadCase("tiny", "attention_head", 3, 4)

JUNK: list[Any] = [
    None, b"x", [], [1], {}, float("nan"), float("inf"), -1, 0, True, 1.5, 1e300, "x" * 5000,
    "a\0b", "\ud800", "\x1b[31m", Text("normal"), np.int64(3), np.float32("nan"), np.zeros(2),
    np.zeros((4, 8), complex), np.zeros((4, 8), object), object(), int, 10**5000, -(10**5000),
    2**63, 2**40, 2**25, {1}, "", "..", (), (1,), ("a",), (2**40,), (1.5,), ("\x1b",), deep(),
    [[1], [1, 2]], {"x": 1}, {1: None}, Path("no/such"), Path("a\0b"), lambda: 1, Evil(), [Evil()],
    CASE, TASK, CHIP, KERNEL, iter(()), dataclasses.replace(KERNEL, body=(None,)),
    dataclasses.replace(KERNEL, body=(ir.Let("n", shared()), *KERNEL.body)),
    ir.Const(shared()), ir.Const(1),  # type: ignore[arg-type]
]  # fmt: skip


def evaluation() -> judge.Evaluation:
    return judge.evaluate(KERNEL, TASK, distributions=["normal"])


def field_of(value: Any, field: str) -> Callable[..., Any]:
    """A tampered record where one is expected: fields set behind the constructor's back."""

    def call(use: Callable[[Any], Any], **changed: Any) -> Any:
        copy = dataclasses.replace(value)
        object.__setattr__(copy, field, changed[field])
        return use(copy)

    return call


OWN: dict[str, Any] = {}
exec(own_tasks.FILE, OWN)
TINY = {"cases": [CASE], "distributions": ["normal"]}
# Name -> (the function, arguments that it takes).
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "evaluate": (
        m890sim.evaluate,
        {"kernel": KERNEL, "task": TASK, "chip": CHIP, **TINY}
        | {"seed": 0, "rows": 1, "thorough": False, "progress": None, "limits": None},
    ),
    "define_task": (m890sim.define_task, OWN["OPTIONS"] | {"sampled": False, "limits": None}),
    "register_task": (m890sim.register_task, {"task": TASK, "replace_known": False}),
    "draw_chip": (
        m890sim.draw_chip,
        {"family": "balanced", "split": "test", "number": 1},
    ),
    "execute": (
        m890sim.execute,
        {"kernel": KERNEL, "case": CASE, "inputs": INPUTS, "seed": 0, "limits": None},
    ),
    "student_chip": (exercises.student_chip, {"preset": "m890", "student": "ada"}),
    "exercise_task": (exercises.exercise_task, {"exercise": 3, "student": "ada"}),
    "get_exercise": (exercises.get_exercise, {"name": 3}),
    "read_prediction": (read_prediction, {"text": "# predict: cycles=9"}),
    "get_chip": (m890sim.get_chip, {"name": "m890"}),
    "get_task": (m890sim.get_task, {"name": "extend"}),
    "judge_kernel": (
        m890sim.judge_kernel,
        {"kernel": KERNEL, "task": TASK, "chip": CHIP, "hidden": 0, "seed": 1, "algebraic": False}
        | {"cases": [CASE], "rows": 1, "thorough": True, "progress": None},
    ),
    "legal_edits": (m890sim.legal_edits, {"kernel": KERNEL}),
    "load_kernel": (m890sim.load_kernel, {"path_or_name": "vector_add_reference", "chip": ""}),
    "parse": (m890sim.parse, {"text": m890sim.print_kernel(KERNEL), "filename": "a"}),
    "parse limits": (m890sim.parse, {"text": "", "limits": language.DEFAULT_LIMITS}),
    "print_kernel": (m890sim.print_kernel, {"kernel": KERNEL}),
    "profile_kernel": (
        m890sim.profile_kernel,
        {"kernel": KERNEL, "case": CASE, "chip": CHIP, "source": None},
    ),
    "simulate": (
        m890sim.simulate,
        {"kernel": KERNEL, "case": CASE, "chip": CHIP, "trace": False, "limits": None},
    ),
    "check": (language.check, {"kernel": KERNEL, "limits": language.DEFAULT_LIMITS}),
    "check_built": (language.check_built, {"kernel": KERNEL}),
    "find_warnings": (language.find_warnings, {"kernel": KERNEL}),
    "language.load_kernel": (
        language.load_kernel,
        {"path": "no/such", "limits": language.DEFAULT_LIMITS},
    ),
    "Limits": (language.Limits, {"source_bytes": 1, "nodes": 2, "literal": 3}),
    "get_kernel": (workloads.get_kernel, {"name": "matmul_expert"}),
    "ladder": (workloads.ladder, {"task": "decode"}),
    "lower_bound": (
        workloads.lower_bound,
        {"case": CASE, "chip": CHIP, "allowed_dtypes": ("f32",)},
    ),
    "known_bound": (
        workloads.known_bound,
        {"case": CASE, "chip": CHIP, "allowed_dtypes": ("f32",)},
    ),
    "known_task": (workloads.known_task, {"name": "extend"}),
    "scalar": (workloads.scalar, {"name": "a"}),
    "size": (workloads.size, {"name": "n"}),
    "table": (workloads.table, {"name": "t", "dim": 3}),
    "tensor": (
        lambda name, dim, dtype: workloads.tensor(name, dim, dtype=dtype),
        {"name": "x"} | {"dim": "R", "dtype": "f32"},
    ),
    "lower_bound_cycles": (workloads.lower_bound_cycles, {"case": CASE, "chip": CHIP}),
    "launch_arguments": (
        workloads.launch_arguments,
        {"kernel": KERNEL, "case": CASE, "inputs": INPUTS},
    ),
    "check_fits": (judge.check_fits, {"kernel": KERNEL, "task": TASK}),
    "check_rows": (
        judge.check_rows,
        {"name": "z", "actual": np.ones((2, 2)), "expected": np.ones((2, 2)), "tolerance": 0.01}
        | {"rows": None},
    ),
    "row_errors": (judge.row_errors, {"actual": np.ones((2, 2)), "expected": np.ones((2, 2))}),
    "reference_cycles": (
        judge.reference_cycles,
        {"reference_name": "vector_add_reference", "case": CASE, "chip": CHIP},
    ),
    "simulate_program": (
        timing.simulate_program,
        {"kernel": KERNEL, "chip": CHIP, "symbols": CASE.symbols, "tables": CASE.tables}
        | {"trace": False},
    ),
    "bind": (binding.bind, {"kernel": KERNEL, "chip": CHIP}),
    "Evaluation.case": (lambda name: evaluation().case(name), {"name": "tiny"}),
    "Task.case": (TASK.case, {"name": "tiny"}),
    "Task.hidden_cases": (TASK.hidden_cases, {"count": 2, "seed": 3}),
    "HiddenCases.cases": (TASK.hidden.cases, {"task": "vector_add", "count": 2, "seed": 3}),  # type: ignore[union-attr]
    "ChipSpec": (
        CHIP.replace,
        {field: getattr(CHIP, field) for field in ("name", "cores", "sram_banks", "hbm_bytes")},
    ),
    "Task": (
        lambda **changes: dataclasses.replace(TASK, **changes),
        {entry.name: getattr(TASK, entry.name) for entry in dataclasses.fields(TASK)},
    ),
} | {
    f"{type(case).__name__}{method}": (call, arguments)
    for case in (
        CASE,
        ATTENTION,
        HEAD,
        RowSoftmaxCase("tiny", "row_softmax", 4, 8),
        MatmulCase("tiny", "matmul", 4, 8, 2),
    )
    for method, call, arguments in (
        ("", type(case), {e.name: getattr(case, e.name) for e in dataclasses.fields(case)}),
        (".make_inputs", case.make_inputs, {"seed": 0, "distribution": "normal"}),
        (".shared_inputs", case.shared_inputs, {"seed": 0, "distribution": "normal", "rows": None}),
        (".oracle", case.oracle, {"inputs": case.make_inputs(), "rows": None}),
        (".part_of", case.part_of, {"chip": CHIP}),
    )
}
CHECKED = {"simulate_program", "bind", "launch_arguments"}  # these take checked kernels alone
OTHERWISE = {
    "apply",  # these: tests/session
    "KernelSession",
    "registered",  # takes nothing
    "tensor",  # above, with one dimension
    "simulate_checked",  # says that it checks nothing
    "check_size",  # tests/language/test_measure.py
}


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise AssertionError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def complaint(call: Callable[..., Any], arguments: dict[str, Any]) -> str:
    """Why the outcome of a call is no answer to its user; empty where it is."""
    try:
        with at_most(SECONDS):
            call(**arguments)
    except REFUSALS as error:
        text = str(error)
        if not 0 < len(text) < 4000 or " at 0x" in text or "4300 digits" in text:
            return f"{type(error).__name__}: {text[:200]}"
        if not text.replace("\n", "").isprintable():
            return f"not printable: {text[:200]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def named(value: Any) -> str:
    return m890sim.messages.described(value)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [(name, parameter) for name, (_, arguments) in CALLS.items() for parameter in arguments],
)
def test_any_value_is_taken_or_refused_in_words(name: str, parameter: str) -> None:
    call, arguments = CALLS[name]
    found = []
    for value in JUNK:
        if name in CHECKED and isinstance(value, ir.Kernel):
            continue
        said = complaint(call, {**arguments, parameter: value})
        if said:
            found.append(f"{parameter} = {named(value)}: {said}")
    assert not found, "\n".join(found[:3]) + f"\n{len(found)} in all"


def test_every_public_function_is_in_the_table() -> None:
    known = {call for call, _ in CALLS.values()}
    for module in (m890sim, language, workloads, judge):
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, types.FunctionType) and name not in OTHERWISE:
                assert value in known, f"{module.__name__}.{name}"


USES: dict[str, Callable[[Any], Any]] = {
    "case": lambda case: (m890sim.simulate(KERNEL, case), m890sim.execute(KERNEL, case)),
    "task": lambda task: (m890sim.evaluate(KERNEL, task), judge.check_fits(KERNEL, task)),
    "chip": lambda chip: (
        m890sim.simulate(KERNEL, CASE, chip),
        workloads.lower_bound(CASE, chip),
        m890sim.evaluate(KERNEL, TASK, chip, distributions=["normal"]),
    ),
}


@pytest.mark.parametrize(
    ("kind", "record", "field"),
    [
        (kind, record, entry.name)
        for kind, record in (("case", CASE), ("task", TASK), ("chip", CHIP))
        for entry in dataclasses.fields(record)
        if entry.name in ("name", "rows", "cases", "tolerance", "params", "hidden", "cores")
        or entry.name in ("sram_banks", "dma_bytes_per_cycle", "outputs", "allowed_dtypes")
    ],
)
def test_tampered_record_is_refused_in_words(kind: str, record: Any, field: str) -> None:
    found = []
    for value in JUNK:
        copy = dataclasses.replace(record)
        object.__setattr__(copy, field, value)
        said = complaint(USES[kind], {USES[kind].__code__.co_varnames[0]: copy})
        if said:
            found.append(f"{field} = {named(value)}: {said}")
    assert not found, "\n".join(found[:3]) + f"\n{len(found)} in all"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentionCase("a", "decode", (2**40,), (1,), 1, 1, 8), "1 ... 67,108,864, not 10"),
        (lambda: AttentionCase("a", "decode", (2**20,), (1,), 8, 8, 64), "the limit of a case is"),
        (lambda: AttentionCase("a", "extend", (0,), (2**17,), 8, 8, 16), "products, the limit"),
        (lambda: AttentionCase("a", "decode", (1,) * 20_000, (1,) * 20_000, 1, 1, 8), "16,384"),
        (lambda: VectorAddCase("a", "vector_add", 2**20, 256), "x has 268,435,456 elements, the"),
        (lambda: MatmulCase("a", "matmul", 2**20, 2**20, 1), "the output has 1,099,511,627,776"),
        (lambda: AttentionHeadCase("a", "attention_head", 2**20, 32), "products, the limit of a"),
    ],
)
def test_case_that_is_too_large_is_refused_before_it_is_made(
    make: Callable[[], Case], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tolerance": float("nan")}, ValueError, "tolerance must be a float above 0 and at most"),
        ({"tolerance": float("inf")}, ValueError, "tolerance must be .* not inf"),
        ({"tolerance": 1e9}, ValueError, "tolerance must be .* not 1000000000.0"),
        ({"tolerance": 1}, TypeError, "tolerance must be a float"),
        ({"cases": ()}, ValueError, "cases must hold at least one case"),
        ({"cases": [CASE]}, TypeError, "cases must be a tuple of Case, not"),
        ({"outputs": ("q",)}, ValueError, "outputs must name tensor parameters of the task"),
        ({"positive": ("x",)}, ValueError, "positive must name scalar parameters of the task"),
        ({"allowed_dtypes": ("f64",)}, ValueError, "allowed_dtypes must be among f32, bf16"),
        ({"hidden": 3}, TypeError, "hidden must be HiddenCases or None, not 3"),
    ],
)
def test_impossible_task_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dataclasses.replace(TASK, **changes)


def test_tolerance_set_behind_the_task_is_refused_and_shows_in_the_digest() -> None:
    task = dataclasses.replace(TASK)
    honest = task.digest
    task.__dict__["tolerance"] = 1e9
    assert task.digest != honest
    with pytest.raises(ValueError, match="tolerance must be a float above 0 and at most 1"):
        judge.evaluate(KERNEL, task)


def test_gate_passes_nothing_at_a_tolerance_of_nan() -> None:
    ones = np.ones((2, 2))
    with pytest.raises(ValueError, match="tolerance must be a float of at least 0, not nan"):
        judge.check_rows("z", 0 * ones, ones, float("nan"))


def foreign() -> Case:
    """A case of a class that bears the name of one of the package's, with an oracle of its own."""

    def zeros(self: Case, inputs: Any, rows: Any = None) -> Any:
        return np.zeros(self.output_shape)

    made = types.new_class("VectorAddCase", (VectorAddCase,), {}, lambda n: n.update(oracle=zeros))
    made.__module__ = VectorAddCase.__module__
    made.__qualname__ = "VectorAddCase"
    case: Case = made("tiny", "vector_add", 4, 8)
    return case


def test_class_that_bears_a_name_of_the_package_has_another_digest() -> None:
    case = foreign()
    assert case.digest != CASE.digest
    assert Task.__post_init__(dataclasses.replace(TASK, cases=(case,))) is None  # type: ignore[func-returns-value]
    assert dataclasses.replace(TASK, cases=(case,)).digest != TASK.digest
