"""Whatever Python code hands in is taken, or refused with TypeError, ValueError or M890Error."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m890sim import get_task, load_kernel, schedule
from m890sim.errors import LimitError, M890Error, TaskError
from m890sim.kernel import ir
from m890sim.schedule import Edit, EditError
from m890sim.schedule.core.tree import sites
from m890sim.session import Facade, KernelSession, Memory
from tests.session.junk import JUNK

MEMORY = Memory()
TASK, CASE = "vector_add", "add-256x512"
REFUSALS = (TypeError, ValueError, M890Error)
QUIET = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def make(**arguments: Any) -> KernelSession:
    given_ = {"task": TASK, "cases": CASE, "memory": MEMORY, "verify": "never", **arguments}
    return KernelSession(given_.pop("task"), **given_)


@pytest.mark.parametrize(
    "name",
    ["task", "cases", "chip", "start", "budget", "verify", "seed", "distributions", "rows"],
)
@QUIET
@given(value=JUNK)
def test_session_takes_or_refuses_any_junk(name: str, value: Any) -> None:
    try:
        session = make(**{name: value})
    except REFUSALS as error:
        assert str(error)
    else:
        assert session.report()["task"] == TASK


@QUIET
@given(value=JUNK)
def test_memory_takes_or_refuses_any_junk(value: Any) -> None:
    for call in (
        lambda: make(memory=value),
        lambda: Memory(states=value),
        lambda: Memory(results=value),
    ):
        try:
            call()
        except REFUSALS as error:
            assert str(error)


@QUIET
@given(value=JUNK)
def test_methods_take_or_refuse_any_junk(value: Any) -> None:
    session = make(budget=0)
    facade = Facade(make(budget=0))
    for used in (session, facade):
        for name in ("load", "apply", "go_to", "evaluate", "traced"):
            try:
                getattr(used, name)(value)
            except REFUSALS as error:
                assert str(error)
    assert session.edits == () and session.kernel.name == "vector_add_reference"


@QUIET
@given(name=JUNK, site=JUNK, argument=JUNK)
def test_edits_of_junk_are_refused(name: Any, site: Any, argument: Any) -> None:
    session = make()
    for edit in (
        Edit(name, site, argument),
        Edit("set_slots", site, argument),
        Edit("set_slots", (0,), argument),
        Edit(name, (0,), 1),
    ):
        before = session.kernel
        try:
            session.apply(edit)
            session.undo()
        except (EditError, TypeError) as error:
            assert str(error)
        assert session.kernel is before


SITES = st.lists(st.integers(-2, 9), max_size=3).map(tuple)
PARTS = st.one_of(
    st.integers(-3, 300), st.sampled_from([2**31, 2**63, -(2**70)]), st.text(max_size=6)
)
ARGUMENTS = st.one_of(st.none(), PARTS, st.lists(PARTS, max_size=3).map(tuple))


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(sorted(schedule.EDITS)), site=SITES, argument=ARGUMENTS)
def test_edits_of_the_right_types_are_applied_or_refused(
    name: str, site: tuple[int, ...], argument: Any
) -> None:
    session = make()
    try:
        session.apply(Edit(name, site, argument))
    except EditError as error:
        assert str(error)
    else:
        session.evaluate()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cases": [None]}, TypeError, "a case must be a Case or its name, not None"),
        ({"cases": 3}, TypeError, "cases must be cases or their names in a sequence or None"),
        ({"cases": []}, TaskError, "no case to evaluate; task vector_add has"),
        ({"cases": [CASE, CASE]}, TaskError, "a name of its own"),
        ({"chip": None}, TypeError, "chip must be a ChipSpec or its name, not None"),
        ({"task": None}, TypeError, "task must be a Task or its name, not None"),
        ({"budget": 1.5}, TypeError, "budget must be an integer or None, not 1.5"),
        ({"budget": True}, TypeError, "budget must be an integer or None, not True"),
        ({"budget": -1}, ValueError, "budget must be at least 0 or None, not -1"),
        ({"seed": -1}, ValueError, "seed must be at least 0, not -1"),
        ({"seed": None}, TypeError, "seed must be an integer, not None"),
        ({"seed": float("nan")}, TypeError, "seed must be an integer, not nan"),
        ({"seed": 2**63}, ValueError, "seed must be at most 9223372036854775807"),
        ({"rows": 0}, ValueError, "rows must be at least 1 or None, not 0"),
        ({"rows": "8"}, TypeError, "rows must be an integer or None, not '8'"),
        ({"verify": None}, TypeError, "verify must be one of best, gains, always, never, not None"),
        ({"distributions": []}, TaskError, "found none"),
        ({"distributions": [1]}, TypeError, "a distribution must be a name, not 1"),
        ({"distributions": 7}, TypeError, "distributions must be names in a sequence or None"),
        ({"start": 123}, TypeError, "a kernel must be a Kernel, a built-in name or a path"),
        ({"start": "x" * 5000}, TaskError, "cannot be a path of a kernel file: File name too"),
        ({"start": "a\0b.py"}, TaskError, "no kernel file"),
        ({"memory": {}}, TypeError, "memory must be a Memory or None"),
    ],
)
def test_wrong_argument_is_refused_with_a_message(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "a\0b", "~" * 300 + ".py", ""])
def test_path_that_cannot_be_one_is_a_task_error(name: str) -> None:
    for value in (name, Path(name)):
        with pytest.raises(TaskError):
            load_kernel(value)


def test_position_must_be_one() -> None:
    with pytest.raises(TypeError, match="position must be a Position, not 'x'"):
        make().go_to("x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit(5), "an edit's name must be a text, not 5"),  # type: ignore[arg-type]
        (Edit("cse", [0]), "an edit's site must be a tuple of integers"),  # type: ignore[arg-type]
        (Edit("cse", ("0",)), "an edit's site must be a tuple of integers"),  # type: ignore[arg-type]
        (Edit("cse", (0,), [1]), "an edit's argument must be None, an integer"),  # type: ignore[arg-type]
        (Edit("cse", (0,), 1.5), "an edit's argument must be None, an integer"),  # type: ignore[arg-type]
    ],
)
def test_edit_of_wrong_types_is_a_type_error(edit: Edit, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make().apply(edit)


def test_edit_with_an_argument_of_another_kind_is_refused() -> None:
    session = make()
    tile = next(site for site, stmt in sites(session.kernel) if isinstance(stmt, ir.TileDecl))
    for argument in (("a", 3), "double", None):
        with pytest.raises(EditError, match="set_slots takes one of 1, 2, 3, 4, not"):
            session.apply(Edit("set_slots", tile, argument))


def built(**changes: Any) -> ir.Kernel:
    return dataclasses.replace(get_task(TASK).reference, **changes)


@pytest.mark.parametrize(
    "kernel",
    [
        built(body=(None,)),
        built(body=None),
        built(params=(3,)),
        built(name=None),
        built(body=(ir.Instr("add", (1, 2, 3)),)),  # type: ignore[arg-type]
    ],
)
def test_kernel_with_parts_that_no_text_has_is_refused(kernel: ir.Kernel) -> None:
    session = make()
    for call in (session.load, Facade(session).load, lambda k: make(start=k)):
        with pytest.raises(REFUSALS):
            call(kernel)
    assert session.kernel.name == "vector_add_reference"


@pytest.mark.parametrize("levels", [40, 3000])
def test_shared_parts_are_refused_before_a_digest_is_made(levels: int) -> None:
    value: ir.Expr = ir.Const(1)
    for _ in range(levels):
        value = ir.Op("+", (value, value))
    kernel = built(body=(ir.Let("n", value), *get_task(TASK).reference.body))
    session = make()
    for call in (session.load, lambda k: make(start=k), Facade(session).load):
        with pytest.raises((LimitError, TypeError), match="E50[23]|nested"):
            call(kernel)
    with pytest.raises(TypeError, match="Const.value must be|nested"):
        session.load(built(body=(ir.Let("n", ir.Const(value)),)))  # type: ignore[arg-type]
