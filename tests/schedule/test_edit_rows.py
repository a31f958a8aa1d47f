"""Rows of EDITS: numbers are explicit, and what one leaves out is an error."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

from m890sim.kernel import ir
from m890sim.language import parse
from m890sim.schedule import DEFAULT_CONTEXT, EDITS, EditSpec, edits
from m890sim.schedule.edit import EditError, edit
from tests.schedule.families import family

TEXT = """from m890sim.lang import *


@kernel
def f(x: Tensor["N", "D"]):
    for i in cores(N):
        a = sram(1, D, bf16)
        fence()
        load(a, x[i, :])
"""


def test_rows_stand_in_the_order_of_their_numbers() -> None:
    assert [row.number for row in EDITS.values()] == list(range(len(EDITS)))


def test_an_edit_says_its_number_and_whether_it_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m890sim.schedule.edit.declared", [])
    declare: Callable[..., Any] = edit
    with pytest.raises(TypeError, match="number"):
        declare(on="Loop", exact=True)
    with pytest.raises(TypeError, match="exact"):
        declare(0, on="Loop")


def test_every_edit_of_every_module_is_a_row() -> None:
    """What is called as an edit and stands in a module of the package is in EDITS."""
    found = set()
    for module in pkgutil.walk_packages(edits.__path__, f"{edits.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(getattr(value, "__self__", None), EditSpec):
                found.add(value.__self__.name)
    assert found == set(EDITS)


def test_families_hold_all_edits() -> None:
    names = ("arithmetic", "attributes", "grain", "loops", "motion")
    assert sum(len(family(name)) for name in names) == len(EDITS)


def test_a_declared_edit_offers_plans_and_rewrites(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[EditSpec] = []
    monkeypatch.setattr("m890sim.schedule.edit.declared", rows)

    @edit(7, on="Cores", arguments=("all", "none"), exact=True)
    def emptied(kernel: ir.Kernel, site: Any, argument: Any, context: Any) -> Any:
        """Drops all.

        And more.
        """
        if argument == "none":
            raise EditError("none")
        return lambda: dataclasses.replace(kernel, body=())

    kernel = parse(TEXT)
    (spec,) = rows
    assert (spec.name, spec.text, spec.number, spec.exact) == ("emptied", "drops all", 7, True)
    assert list(spec.arguments(kernel, (0,), kernel.body[0], DEFAULT_CONTEXT)) == ["all", "none"]
    assert list(spec.arguments(kernel, (), None, DEFAULT_CONTEXT)) == []
    assert spec.applies(kernel, (0,), "all", DEFAULT_CONTEXT)
    assert not spec.applies(kernel, (0,), "none", DEFAULT_CONTEXT)
    assert emptied(kernel, (0,), "all", DEFAULT_CONTEXT).body == ()
