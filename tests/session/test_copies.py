"""Nothing that goes over the boundary is what a kernel is measured by."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any

import pytest

from m890sim import get_chip, get_task, load_kernel, parse, print_kernel
from m890sim.kernel import digest, ir
from m890sim.kernel.ir import Kernel
from m890sim.schedule import Edit, EditError
from m890sim.session import Facade, KernelSession, Memory
from m890sim.session.copies import Copies
from m890sim.workloads import KERNELS

TASK, CASE = "vector_add", "add-256x512"
SLOW, FAST = KERNELS["vector_add_reference"].text, KERNELS["vector_add_expert"].text


def facade(memory: Memory, **settings: Any) -> Facade:
    given = {"budget": 9, "distributions": ("normal",), "memory": memory, **settings}
    return Facade(KernelSession(TASK, CASE, **given))


def swap(kernel: Kernel, other: Kernel) -> None:
    """Make a kernel another one in place, as `frozen` does not keep it from being."""
    for name in ("params", "body"):
        object.__setattr__(kernel, name, getattr(other, name))


def given_out(used: Facade, way: str) -> Kernel:
    """A kernel that came out of the facade."""
    if way == "apply":
        used.restart()
        kernel = used.apply(used.legal_edits()[0])
        used.undo()
        return kernel
    if way == "position":
        return used.position().kernel
    found = used.best_kernel if way == "best_kernel" else used.kernel
    assert found is not None
    return found


@pytest.mark.parametrize("way", ["kernel", "apply", "position", "best_kernel"])
def test_kernels_that_came_out_change_nothing(way: str) -> None:
    memory = Memory()
    used = facade(memory)
    expected = used.evaluate()
    swap(given_out(used, way), parse(FAST))
    swap(used.kernel, parse(FAST))
    for fresh in (used, facade(memory)):
        fresh.load(SLOW)
        entry = fresh.evaluate()
        assert (entry.digest, entry.speedup) == (expected.digest, expected.speedup)
    for edit in fresh.legal_edits()[:5]:
        assert fresh.attempt(edit)
        assert fresh.digest == digest(parse(print_kernel(fresh.kernel)))
        fresh.undo()


@pytest.mark.parametrize("use", ["load", "start"])
def test_kernels_that_went_in_change_nothing(use: str) -> None:
    memory = Memory()
    kernel = parse(SLOW)
    session = KernelSession(TASK, CASE, memory=memory, start=kernel if use == "start" else None)
    used = Facade(session)
    if use == "load":
        used.load(kernel)
    swap(kernel, parse(FAST))
    statement = kernel.body[0]
    object.__setattr__(statement, "comments", None)
    entry = used.evaluate()
    assert entry.speedup == 1.0 and entry.digest == digest(parse(SLOW))
    assert facade(memory).evaluate().speedup == 1.0


def test_kernel_that_says_one_thing_here_and_another_there_is_refused() -> None:
    fast = parse(FAST)

    class Two(Kernel):
        def __getattribute__(self, name: str) -> Any:
            return fast.body if name == "body" else super().__getattribute__(name)

    slow = parse(SLOW)
    two = Two(slow.name, slow.params, slow.body)
    session = KernelSession(TASK, CASE, memory=Memory())
    for load in (session.load, Facade(session).load):
        with pytest.raises(TypeError, match="kernel must be a Kernel, not a value of type Two"):
            load(two)


@pytest.mark.parametrize("part", [object(), [], b"x", str.__new__(type("S", (str,), {}), "x")])
def test_kernel_of_other_parts_is_refused(part: Any) -> None:
    kernel = parse(SLOW)
    for changed in (
        dataclasses.replace(kernel, name=part),
        dataclasses.replace(kernel, body=(part,)),
    ):
        with pytest.raises(TypeError, match="has parts that no text has: "):
            KernelSession(TASK, CASE, memory=Memory()).load(changed)


def test_kernel_without_an_end_is_refused() -> None:
    loop = ir.Loop("i", ir.Const(0), ir.Const(1), ir.Const(1), ())
    object.__setattr__(loop, "body", (loop,))
    with pytest.raises(TypeError, match="nested without end"):
        Copies().kernel(dataclasses.replace(parse(SLOW), body=(loop,)))


def test_kernel_with_shared_sums_is_refused_at_once() -> None:
    """Thirty levels of a sum of one object print as 2**30 names."""
    total: Any = ir.Name("i")
    for _ in range(30):
        total = ir.Op("+", (total, total))
    kernel = parse(SLOW)
    bomb = dataclasses.replace(kernel, body=(ir.Let("n", total), *kernel.body))
    session = KernelSession(TASK, CASE, memory=Memory())
    for load in (session.load, Facade(session).load):
        with pytest.raises(Exception, match="E503"):
            load(bomb)


def test_copy_is_equal_and_shares_as_the_kernel_does() -> None:
    copies = Copies()
    kernel = load_kernel("attention_expert")
    copy = copies.kernel(kernel)
    assert copy == kernel and copy is not kernel and copies.kernel(kernel) is copy
    places = [stmt.loc for stmt in ir.walk(kernel.body)]
    assert [stmt.loc for stmt in ir.walk(copy.body)] == places
    longer = dataclasses.replace(kernel, body=(*kernel.body, kernel.body[-1]))
    assert copies.kernel(longer).body[-1] is copy.body[-1]


def test_changed_kernel_of_a_session_is_not_timed() -> None:
    """Whoever holds a session is trusted with its kernels; a mistake is told all the same."""
    session = KernelSession(TASK, CASE, memory=Memory())
    swap(session.kernel, parse(FAST))
    with pytest.raises(ValueError, match="was changed after it was loaded; kernels are frozen"):
        session.evaluate()


def test_chip_task_and_cases_of_a_facade_are_copies() -> None:
    used = facade(Memory())
    lanes, tolerance = get_chip("m890").vector_f32_lanes, get_task(TASK).tolerance
    assert used.chip == get_chip("m890") and used.task == get_task(TASK)
    assert used.cases == (get_task(TASK).case(CASE),)
    object.__setattr__(used.chip, "vector_f32_lanes", 1 << 20)
    object.__setattr__(used.task, "tolerance", 1e9)
    object.__setattr__(used.task.cases[0], "rows", 1)
    object.__setattr__(used.cases[0], "rows", 1)
    assert get_chip("m890").vector_f32_lanes == lanes and get_task(TASK).tolerance == tolerance
    assert all(case.rows > 1 for case in get_task(TASK).cases)  # type: ignore[attr-defined]
    assert used.evaluate().speedup == 1.0


def test_entries_that_came_out_change_nothing() -> None:
    memory = Memory()
    used = facade(memory)
    entry = used.evaluate()
    assert entry is used.log[0] is used.best
    object.__setattr__(entry, "accepted", False)
    object.__setattr__(entry.outcome, "speedup", 99.0)
    object.__setattr__(entry.cases[0], "cycles", 1)
    assert used.report()["best_speedup"] == 1.0
    assert facade(memory).evaluate().speedup == 1.0


def test_edits_cannot_be_changed() -> None:
    edit = Edit("cse", (0,), 1)
    for name in ("name", "site", "argument"):
        with pytest.raises(AttributeError):
            object.__setattr__(edit, name, "x")


def test_edit_that_equals_any_other_is_refused() -> None:
    class Any_(Edit):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = Edit.__hash__

    used = facade(Memory())
    with pytest.raises(TypeError, match="edit must be an Edit, not a value of type Any_"):
        used.apply(Any_("cse"))


def frames(error: BaseException | None) -> list[types.FrameType]:
    """The frames of an error, and of what it was raised from."""
    found: list[types.FrameType] = []
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            found.append(trace.tb_frame)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return found


def told(_entry: Any) -> None:
    raise KeyError("of the one who is told")


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda used: used.undo(), ValueError),
        (lambda used: used.traced(CASE), ValueError),
        (lambda used: used.apply(Edit("cse", (0,))), EditError),
        (lambda used: used.apply(Edit("set_slots", (), "x")), EditError),
        (lambda used: used.load("def"), Exception),
        (lambda used: used.go_to(facade(Memory()).position()), ValueError),
        (lambda used: Facade(KernelSession(TASK, CASE), told=told).evaluate(), KeyError),
    ],
)
def test_errors_of_a_facade_lead_to_no_session(
    act: Callable[[Facade], Any], error: type[Exception]
) -> None:
    used = facade(Memory())
    with pytest.raises(error) as caught:
        act(used)
    here = [frame for frame in frames(caught.value) if frame.f_code.co_filename != __file__]
    assert here, "the facade's own frame stays"
    for frame in here:
        for value in frame.f_locals.values():
            assert not isinstance(value, (KernelSession, Memory)), frame
    if error is KeyError:
        assert "told(found)" in "".join(caught.value.__notes__), "where a fault was is still told"
