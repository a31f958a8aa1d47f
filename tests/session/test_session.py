"""A session's kernel: loading, editing, taking back, copies."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from m890sim import get_task, load_kernel, schedule
from m890sim.errors import ChipError, LanguageError, TaskError
from m890sim.kernel import digest, print_kernel
from m890sim.language import Limits, check_size
from m890sim.schedule import Edit, EditError
from m890sim.session import KernelSession, Memory
from m890sim.workloads import KERNELS
from tests.session.toys import CASE, OTHER_CASE, fences

Make = Callable[..., KernelSession]
SMALLER = Edit("set_tile", (), 32)
SMALLEST = Edit("set_tile", (), 16)
FEW = Limits(nodes=20)


def test_session_begins_with_the_reference(make: Make) -> None:
    session = make()
    assert session.kernel == get_task("extend").reference
    assert session.digest == digest(get_task("extend").reference)
    assert session.edits == ()
    assert (session.task.name, session.chip.name, session.cases) == ("extend", "m890", (CASE,))


def test_all_cases_of_the_task_by_default(toys: None) -> None:
    assert KernelSession("extend").cases == get_task("extend").cases


def test_start_may_be_a_name_a_file_or_a_kernel(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(KERNELS["attention_textbook"].text, encoding="utf-8")
    kernel = load_kernel("attention_textbook")
    for start in ("attention_textbook", path, kernel):
        assert make(start=start).kernel == kernel


def test_load_begins_the_edits_anew(make: Make) -> None:
    session = make(verify="never")
    session.apply(SMALLER)
    session.evaluate()
    session.load("attention_textbook")
    assert session.edits == ()
    assert session.spent == 1, "the log stays"


@pytest.mark.parametrize(
    ("kernel", "error"),
    [("nonsense", TaskError), ("decode_reference", TaskError), ("missing.py", TaskError)],
)
def test_refused_load_leaves_the_session_alone(
    make: Make, kernel: str, error: type[Exception]
) -> None:
    session = make()
    session.apply(SMALLER)
    with pytest.raises(error):
        session.load(kernel)
    assert session.edits == (SMALLER,)


def test_load_checks_a_kernel_that_code_has_made(make: Make) -> None:
    session = make()
    broken = schedule.rewrite(session.kernel, Edit("set_tile", (), 0))
    with pytest.raises(LanguageError):
        session.load(broken)


def test_apply_edits_the_kernel(make: Make) -> None:
    session = make()
    before = session.kernel
    after = session.apply(SMALLER)
    assert after is session.kernel
    assert after.tunables["BQ"] == 32 and before.tunables["BQ"] == 64
    assert session.edits == (SMALLER,)


def test_refused_edit_changes_nothing_and_says_why_each_time(make: Make) -> None:
    session = make()
    before = session.kernel
    for _ in range(2):
        with pytest.raises(EditError, match="there is no fence at"):
            session.apply(Edit("drop_fence", (0,)))
    with pytest.raises(EditError, match="unknown edit 'nonsense'"):
        session.apply(Edit("nonsense"))
    assert session.kernel is before and session.edits == ()


def test_apply_takes_edits_only(make: Make) -> None:
    with pytest.raises(TypeError, match="edit must be an Edit, not 'set_tile'"):
        make().apply("set_tile")  # type: ignore[arg-type]


def test_edit_that_its_rewrite_stumbles_over_is_refused(make: Make) -> None:
    session = make()
    for argument in ("wide", (1, 2), None):
        with pytest.raises(EditError, match="set_tile does not take this argument here"):
            session.apply(Edit("set_tile", (), argument))
    assert session.edits == ()


def test_legal_edits_are_those_that_apply(make: Make) -> None:
    session = make()
    legal = session.legal_edits()
    assert legal == tuple(schedule.legal_edits(session.kernel))
    assert set(fences(session.kernel)) < set(legal)
    for edit in legal:
        session.apply(edit)
        session.undo()


@pytest.mark.parametrize("known", [False, True])
def test_legal_edits_of_one_name_are_those_among_all(make: Make, known: bool) -> None:
    session, other = make(), make()
    for _ in range(3):
        expected = other.legal_edits()
        if known:
            session.legal_edits()
        for name in schedule.EDITS:
            found = session.legal_edits(name)
            assert found == tuple(edit for edit in expected if edit.name == name)
            assert session.legal_edits(name) is found
        session.apply(expected[0])
        other.apply(expected[0])
        assert session.evaluate().cycles == other.evaluate().cycles
    with pytest.raises(schedule.EditError, match=r"unknown edit 'sort'; `m890 edits` lists them"):
        session.legal_edits("sort")


def test_offered_edits_that_apply_are_the_legal_ones(make: Make) -> None:
    kernel = make().kernel
    for edit in schedule.legal_edits(kernel):
        assert schedule.offers(kernel, edit)
    for edit in (Edit("sort"), Edit("set_tile", (), 7), Edit("set_tile", (0,), 32)):
        assert not schedule.offers(kernel, edit)
    with pytest.raises(EditError, match=r"there is no statement at 90"):
        schedule.offers(kernel, Edit("drop_fence", (90,)))


def test_edits_that_are_offered_need_no_check_before_a_kernel_is_timed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make(verify="never", memory=Memory())
    expected = make(verify="never", memory=Memory())
    session.evaluate()
    monkeypatch.setattr(
        "m890sim.session.memory.check_built", lambda _kernel: pytest.fail("checked")
    )
    for edit in reversed(fences(session.kernel)):
        session.apply(edit)
    found = session.evaluate()
    monkeypatch.undo()
    expected.load(session.kernel)
    assert found.cycles == expected.evaluate().cycles


def test_kernel_of_offered_edits_that_is_too_large_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make(memory=Memory())
    session.evaluate()
    monkeypatch.setattr("m890sim.session.memory.check_size", partial(check_size, limits=FEW))
    for edit in reversed(fences(session.kernel)):
        session.apply(edit)
    entry = session.evaluate()
    assert (entry.code, entry.cycles) == ("E503", dict.fromkeys(entry.cycles))
    assert "the kernel has more than 20 IR nodes" in entry.message


def test_legal_edits_are_found_once_for_a_kernel(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make(memory=Memory())
    expected = session.legal_edits()
    monkeypatch.setattr(schedule, "legal_edits", lambda *_: pytest.fail("asked again"))
    session.apply(SMALLER)
    session.undo()
    assert session.legal_edits() is expected
    assert make(memory=session.memory).legal_edits() is expected


def test_undo_takes_back_one_edit(make: Make) -> None:
    session = make()
    start = session.kernel
    session.apply(SMALLER)
    middle = session.digest
    session.apply(SMALLEST)
    assert session.undo() == SMALLEST
    assert session.digest == middle and session.edits == (SMALLER,)
    assert session.undo() == SMALLER
    assert session.kernel is start
    with pytest.raises(ValueError, match="nothing to undo"):
        session.undo()


def test_restart_goes_back_to_what_was_loaded(make: Make) -> None:
    session = make(start="attention_textbook")
    session.apply(SMALLER)
    session.apply(SMALLEST)
    session.restart()
    assert session.edits == () and session.kernel == load_kernel("attention_textbook")


def test_position_is_a_place_to_come_back_to(make: Make) -> None:
    session = make()
    session.apply(SMALLER)
    place = session.position()
    session.apply(SMALLEST)
    session.go_to(place)
    assert session.kernel is place.kernel and session.edits == (SMALLER,)
    session.undo()
    assert session.edits == ()
    other = make()
    other.go_to(place)
    assert other.edits == (SMALLER,)
    with pytest.raises(ValueError, match="another task, cases, chip or memory"):
        make(cases=OTHER_CASE).go_to(place)


def state_of(session: KernelSession) -> object:
    return (session.digest, session.edits, session.log, session.best, session.left)


def test_clone_is_independent_both_ways(make: Make) -> None:
    session = make(budget=5)
    session.evaluate()
    session.apply(SMALLER)
    session.evaluate()
    for duplicate in (session.clone, lambda: copy.copy(session), lambda: copy.deepcopy(session)):
        expected = state_of(session)
        other = duplicate()
        assert state_of(other) == expected
        other.undo()
        other.apply(fences(other.kernel)[0])
        other.evaluate("always")
        other.load("attention_textbook")
        other.evaluate()
        assert state_of(session) == expected
        expected = state_of(other)
        mark = session.position()
        session.apply(SMALLEST)
        session.undo()
        session.restart()
        assert state_of(other) == expected
        session.go_to(mark)


def test_clone_of_a_long_session_takes_microseconds(make: Make) -> None:
    session = make(verify="never")
    for number in range(300):
        session.apply(Edit("set_tile", (), 16 * (1 + number % 2)))
        session.evaluate()
    times = []
    for _ in range(50):
        began = time.perf_counter()
        session.clone()
        times.append(time.perf_counter() - began)
    assert min(times) < 200e-6


def test_remember_makes_a_value_once_for_a_kernel(make: Make) -> None:
    session = make(memory=Memory())
    calls: list[str] = []

    def make_value(kernel: object) -> int:
        calls.append("called")
        return len(print_kernel(kernel))  # type: ignore[arg-type]

    expected = session.remember("length", make_value)
    session.apply(SMALLER)
    session.undo()
    assert session.clone().remember("length", make_value) == expected
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"cases": ()}, TaskError, "no case to evaluate"),
        ({"cases": (CASE, CASE)}, TaskError, "a name of its own"),
        ({"cases": "prefill-25"}, TaskError, "unknown case"),
        ({"cases": "decode-ragged"}, TaskError, "unknown case"),
        ({"chip": "m891"}, ChipError, "m891"),
        ({"chip": 890}, TypeError, "chip must be a ChipSpec or its name"),
        ({"budget": -1}, ValueError, "budget must be at least 0"),
        ({"verify": "sometimes"}, ValueError, "verify must be one of best, gains, always, never"),
        ({"distributions": ("nonsense",)}, TaskError, "distributions must be among"),
        ({"distributions": ()}, TaskError, "found none"),
    ],
)
def test_bad_setting_is_refused(
    make: Make, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(**settings)


def test_task_must_be_one() -> None:
    with pytest.raises(TypeError, match="task must be a Task or its name"):
        KernelSession(CASE)  # type: ignore[arg-type]
