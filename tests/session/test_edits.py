"""`m890sim.legal_edits` and `m890sim.apply`, and edits as plain data."""

from __future__ import annotations

from pathlib import Path

import pytest

import m890sim
from m890sim import schedule
from m890sim.errors import TaskError
from m890sim.schedule import Context, Edit, EditError
from m890sim.session import context_of, edit_from_data, edit_to_data
from m890sim.workloads import KERNELS


def test_context_comes_from_task_and_chip() -> None:
    assert context_of() == schedule.DEFAULT_CONTEXT
    assert context_of("extend", "m890") == Context(("bf16", "f16", "f32"), 4, 16, ("scale",))
    mini = m890sim.get_chip("m890-mini")
    expected = Context(
        m890sim.get_task("decode").allowed_dtypes, mini.dma_queues, mini.sram_banks, ("scale",)
    )
    assert context_of("decode", mini) == expected
    with pytest.raises(TaskError, match="unknown task"):
        context_of("extent")


def test_factor_passes_a_maximum_only_where_a_task_promises_its_sign() -> None:
    kernel = m890sim.load_kernel("attention_reference")
    promised = {edit.name for edit in schedule.legal_edits(kernel, context_of("extend"))}
    assert promised - {edit.name for edit in schedule.legal_edits(kernel, context_of())} == {
        "scale_through_max"
    }


def test_public_functions_edit_a_kernel(toys: None, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(KERNELS["attention_reference"].text, encoding="utf-8")
    kernel = m890sim.load_kernel("attention_reference")
    legal = m890sim.legal_edits(kernel)
    assert isinstance(legal, list) and legal
    assert legal == m890sim.legal_edits("attention_reference", "extend", "m890")
    assert legal == m890sim.legal_edits(path)
    changed = m890sim.apply(kernel, legal[0])
    assert changed != kernel
    assert changed == m890sim.apply("attention_reference", legal[0], "extend", "m890")
    assert kernel == m890sim.load_kernel("attention_reference"), "the old kernel is untouched"


def test_refused_edit_says_why(toys: None) -> None:
    with pytest.raises(EditError, match="there is no fence at"):
        m890sim.apply("attention_reference", Edit("drop_fence", (0,)))
    with pytest.raises(EditError, match="the language refuses the result"):
        m890sim.apply("attention_reference", Edit("set_tile", (), 0))


@pytest.mark.parametrize(
    "edit",
    [
        Edit("a"),
        Edit("a", (0, 3), 5),
        Edit("a", (1,), "bf16"),
        Edit("a", (), ("x", 2)),
        Edit("a", (), ()),
    ],
)
def test_edit_survives_plain_data(edit: Edit) -> None:
    assert edit_from_data(edit_to_data(edit)) == edit


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": "a", "site": [0]},
        {"name": 3, "site": [], "argument": None},
        {"name": "a", "site": ["x"], "argument": None},
        {"name": "a", "site": [True], "argument": None},
        {"name": "a", "site": 5, "argument": None},
        {"name": "a", "site": [], "argument": 1.5},
        {"name": "a", "site": [], "argument": [[1]]},
        ["a"],
    ],
)
def test_what_is_no_edit_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="edit"):
        edit_from_data(data)  # type: ignore[arg-type]
