"""Task files with one fault each: a message that names the field, before or when it is used."""

from __future__ import annotations

import pytest

import m890sim
from m890sim.errors import TaskError
from m890sim.workloads import outside, tensor
from tests.workloads.own_tasks import FILE

DRAWN = 'return {"R": dice.length(1, 64), "C": dice.length(1, 64)}'
RETURNED = 'return {"y": 2 * x, "z": x.max(axis=1, keepdims=True)}'
OPTION = "hidden=hidden,\n"


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch):
    monkeypatch.setattr(outside, "_registered", {})


def option(text):
    """The task with one more argument of define_task."""
    return (OPTION, f"hidden=hidden, {text},\n")


@pytest.fixture
def load(tmp_path):
    def load(old, new):
        assert old in FILE
        (tmp_path / "mine.py").write_text(FILE.replace(old, new), encoding="utf-8")
        return m890sim.get_task(f"{tmp_path / 'mine.py'}:TASK")

    return load


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"z", "exact"', '"z", "close"'), "gate of output z must be one of rows, largest, exact"),
        (('"z", "exact"', '"z", "rows", -1.0'), "limit of output z must be above 0"),
        (('"R": 20, "C"', '"R": 2**20, "B": 1, "C"'), None),
        (('"C": 30', '"C": 2**30'), "case small: x has 21,474,836,480 elements, the limit"),
        (('"R": 20, "C": 30', '"R": 10**5000, "C": 2'), "R must be at most 2.*of 16610 bits"),
        (('tensor("x", "R", "C")', 'tensor("x")'), "tensor 'x' must have dimensions"),
        (('tensor("x", "R", "C")', 'tensor("x", "R*2", "C")'), "a dimension must be a symbol"),
        (('tensor("x", "R", "C")', 'tensor("x x", "R", "C")'), "must be letters, digits and _"),
        (('tensor("x", "R", "C")', 'tensor("w", "R", "C")'), "reference doubled has the parameter"),
        (('tensor("x", "R", "C")', 'tensor("x", "C", "R")'), "has another parameter x than the"),
        (
            ("reference=KERNEL", 'reference="matmul_reference"'),
            "matmul_reference has the parameter",
        ),
        (option("expert='swiglu_reference'"), "expert swiglu_reference is neither a file"),
        (option("largest=3"), "largest must be a dict of symbols and numbers, not 3"),
        (
            option("largest={'Q': 3}"),
            "largest must name symbols or sizes .*not 'Q'; there are C, R",
        ),
        (option("largest={'C': 'a'}"), "largest C must be an integer, not 'a'"),
        (option("scalars={'e': 1.0}"), "scalars must name scalar parameters .* it has none"),
        (option("distributions=[[1]]"), "distributions must be among normal"),
        (option("derive=lambda case: {'e': 'a'}"), "e, which derive returned, must be .*mine.py"),
        (option("hiden=3"), "unexpected keyword argument 'hiden'"),
        (("    oracle=oracle,\n", ""), "missing 1 required positional argument: 'oracle'"),
    ],
)
def test_fault_of_the_definition(change, message, load):
    if message is None:
        assert load(*change).case("small").symbols["R"] == 2**20  # as large as it may be
        return
    with pytest.raises(TaskError, match=message):
        load(*change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("2 * x", "(2 * x).astype(complex)"), "gave 'y' as an array of complex128, which is no"),
        (
            ("2 * x", "(2 * x).tolist()"),
            "which is no NumPy array of real numbers; give one of shape",
        ),
        ((RETURNED, "return None"), "oracle on case small must return a dict of names, not None"),
        ((RETURNED, "return 2 * x, x"), "must return a dict of names, not \\(a value"),
        ((RETURNED, "yield x"), "must return a dict of names, not a value of type generator"),
        (("2 * x", "oracle(given)"), "oracle on case small raised RecursionError: .*line 24"),
        (('x = given["x"]', "raise SystemExit(3)"), "raised SystemExit: 3 .mine.py, line 23"),
        (('x = given["x"]', 'x = given["w"]'), "raised KeyError: 'w' .mine.py, line 23"),
        (("def oracle(given)", "def oracle(one, two)"), "raised TypeError: oracle.. missing 1"),
        (option("sampled=True"), "raised TypeError: oracle.. takes 1 positional argument but 2"),
        (
            option("inputs=lambda draw: {'x': draw.normal(2**20, 2**20)}"),
            "a draw of shape .1048576, 1048576. has more than 67,108,864 elements; draw less",
        ),
        (
            option("inputs=lambda draw: {'x': draw.integers(2, 2.5)}"),
            "the shape of a draw must be integers of at least 0, not .2.5,.",
        ),
    ],
)
def test_fault_of_a_function(change, message, load):
    task = load(*change)
    with pytest.raises(TaskError, match=message):
        m890sim.evaluate(task.reference, task)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("return None", "hidden on hidden-1-0 must return a dict of names, not None"),
        ("return {1: 2}", "hidden on hidden-1-0 must return a dict of names, not {1: 2}"),
        ("return 1 / 0", "hidden on hidden-1-0 raised ZeroDivisionError: .*mine.py, line 28"),
        ("return {'R': 2}", "hidden drew no case: case hidden-1-0 must say C"),
        ("return {'R': -1, 'C': 2}", "hidden drew no case: case hidden-1-0: R must be 1 ..."),
        ("return {'R': 'a', 'C': 2}", "hidden drew no case: .*R must be a number or a tuple"),
        ("return {'R': 2.5, 'C': 2}", "hidden drew no case: .*R must be an integer, not 2.5"),
        ("return {'R': 2**20, 'C': 2**20}", "hidden drew no case: .* elements, the limit"),
    ],
)
def test_fault_of_the_generator_is_found_before_a_search(returned, message, load):
    task = load(DRAWN, returned)
    with pytest.raises(TaskError, match=message):
        task.hidden_cases(2, 1)
    from m890sim.agents.plan import Plan
    from m890sim.agents.registry import DEFAULT_AGENT

    with pytest.raises(TaskError, match=message.replace("hidden-1-0", "hidden-0-0")):
        Plan(task, task.cases, m890sim.get_chip("m890"), DEFAULT_AGENT, 0, 5, "doubled", 2)


def test_numbers_of_numpy_are_taken(load):
    task = load(DRAWN, "return {'R': np.int64(3), 'C': np.int32(4), 'e': np.float64(2)}")
    (case,) = task.hidden_cases(1, 1)
    assert case.values == (("C", 4), ("R", 3), ("e", 2.0))
    assert {type(value) for _, value in case.values} == {int, float}
    task = load(
        OPTION, "hidden=hidden, derive=lambda case: {'n': np.arange(3), 'm': [np.int8(1)]},\n"
    )
    assert task.cases[0].numbers["n"] == (0, 1, 2)
    assert task.cases[0].numbers["m"] == (1,)


def test_a_sum_may_be_written_without_spaces():
    assert tensor("x", "B+1") == tensor("x", "B + 1")
