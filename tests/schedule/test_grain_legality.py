"""Edits of the grain: what is listed as legal is what applies, on kernels in all states."""

from __future__ import annotations

import pytest

from m890sim.errors import M890Error
from m890sim.kernel import ir, print_kernel
from m890sim.language import check, parse
from m890sim.schedule import DEFAULT_CONTEXT, Edit, EditError, legal_edits, rewrite
from m890sim.schedule.core.tree import sites
from m890sim.schedule.edit import head_of
from m890sim.workloads import KERNELS
from tests.generators import random_program
from tests.schedule import grain_cases
from tests.schedule.families import family
from tests.schedule.grain_cases import built_in, edited, phases


def assert_consistent(kernel: ir.Kernel) -> int:
    """Every candidate applies exactly where the row says so; what it makes passes the check."""
    applied = set()
    for row in family("grain").values():
        for site, stmt in [((), None), *sites(kernel)]:
            arguments = list(row.arguments(kernel, site, stmt, DEFAULT_CONTEXT))
            assert not arguments or row.heads is None or head_of(stmt) in row.heads
            for argument in arguments:
                edit = Edit(row.name, site, argument)
                try:
                    result = rewrite(kernel, edit)
                except EditError:
                    assert not row.applies(kernel, site, argument, DEFAULT_CONTEXT)
                    continue
                assert row.applies(kernel, site, argument, DEFAULT_CONTEXT)
                check(result)
                assert parse(print_kernel(result)) == result
                applied.add(edit)
    names = {row.name for row in family("grain").values()}
    assert {edit for edit in legal_edits(kernel) if edit.name in names} == applied
    return len(applied)


@pytest.mark.parametrize("part", range(2))
def test_built_in_kernels_list_what_applies(part: int) -> None:
    found = [assert_consistent(built_in(name)) for name in sorted(KERNELS)[part::4]]
    assert max(found) > 0


@pytest.mark.parametrize("name", ["decode_reference", "attention_reference"])
def test_edited_kernels_list_what_applies(name: str) -> None:
    kernel = edited(built_in(name), grain_cases.SCRIPT)
    assert assert_consistent(kernel) > 0
    for edit in [e for e in legal_edits(kernel) if e.name in ("pack_heads", "split_range")]:
        if edit.argument in ("grow", 4):
            assert_consistent(rewrite(kernel, edit))


def test_generated_kernels_raise_nothing_else() -> None:
    for seed in range(30):
        assert_consistent(random_program(seed).kernel)


def test_edits_act_where_they_can_only() -> None:
    kernel = built_in("decode_reference")
    for row in family("grain").values():
        for site in ((), (0,), (9, 9), phases(kernel)[0]):
            with pytest.raises(M890Error):
                row.rewrite(kernel, site, "nothing", DEFAULT_CONTEXT)
