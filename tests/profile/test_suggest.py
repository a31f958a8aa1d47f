"""Suggestions: each is a kernel of its own, timed, and what the table says of it holds."""

from __future__ import annotations

from functools import lru_cache

import pytest

from m890sim import get_task, load_kernel
from m890sim.kernel import ir
from m890sim.profile import Profile, profile_kernel
from m890sim.profile.suggest import Suggestion, suggestions
from m890sim.schedule import legal_edits, rewrite
from m890sim.schedule.core.tree import sites
from m890sim.session import context_of
from m890sim.workloads import KERNELS, ladder, simulate

NAMES = ("vector_add_reference", "attention_head_reference", "decode_2_queues")
names = pytest.mark.parametrize("name", NAMES)
FIRST = 5  # of a table, what a reader looks at
STEPS = [
    (task, before.name, after.name)
    for task in ("extend", "decode")
    for before, after in zip(ladder(task), ladder(task)[1:], strict=False)
]
SHARE = 0.8  # of the steps


@lru_cache
def found_for(name: str) -> tuple[Profile, list[Suggestion]]:
    task = get_task(KERNELS[name].task)
    profile = profile_kernel(load_kernel(name), task.cases[0])
    return profile, suggestions(profile, task)


@names
def test_every_suggestion_is_a_run_of_the_edited_kernel(name: str) -> None:
    profile, found = found_for(name)
    context = context_of(get_task(KERNELS[name].task), profile.chip)
    lines = {site: stmt.loc.line for site, stmt in sites(profile.kernel)}
    for one in found[:20] + found[-20:]:
        kernel = profile.kernel
        for edit in one.edits:
            kernel = rewrite(kernel, edit, context)
        if one.cycles is not None:
            assert one.cycles == simulate(kernel, profile.case).cycles
            assert one.saved == profile.cycles - one.cycles
        assert one.macro == (len(one.edits) > 1)
        assert set(one.lines) == {lines[edit.site] for edit in one.edits if edit.site in lines}


@names
def test_all_legal_edits_are_there_and_no_kernel_twice(name: str) -> None:
    profile, found = found_for(name)
    context = context_of(get_task(KERNELS[name].task), profile.chip)
    legal = legal_edits(profile.kernel, context)
    kernels = {rewrite(profile.kernel, edit, context) for edit in legal} - {profile.kernel}
    single = [one for one in found if not one.macro]
    assert {rewrite(profile.kernel, one.edits[0], context) for one in single} == kernels
    assert len(single) == len(kernels)
    order = [one.saved for one in found if one.cycles is not None]
    assert order == sorted(order, reverse=True)
    fitting = [one.cycles is not None for one in found]
    assert fitting == sorted(fitting, reverse=True)


def test_progress_is_told_before_each_run() -> None:
    task = get_task("vector_add")
    profile = profile_kernel(load_kernel("vector_add_reference"), task.cases[0])
    told: list[tuple[int, int]] = []
    found = suggestions(profile, task, lambda done, whole, _: told.append((done, whole)))
    assert told == [(number, len(found)) for number in range(len(found))]


def test_fences_are_the_reason_where_engines_wait_for_them() -> None:
    profile, found = found_for("attention_head_reference")
    assert any(isinstance(s, ir.Instr) and s.op == "fence" for s in ir.walk(profile.kernel.body))
    (best, *_) = [one for one in found if one.edits[0].name == "remove_fence"]
    assert best.reason.startswith("engines wait ") and best.reason.endswith("% for fences")
    assert best.macro and best.saved > 0.3 * profile.cycles


def test_reasons_name_lines_that_are_there() -> None:
    profile, found = found_for("decode_2_queues")
    reasons = {one.reason for one in found}
    assert any("of the path, most of it" in reason for reason in reasons)
    assert any("waits" in reason and "(line " in reason for reason in reasons)
    known = {line.line for line in profile.lines}
    for one in found:
        for word in one.reason.replace(")", "").replace(";", "").split("line ")[1:]:
            assert int(word.split()[0]) in known


@pytest.mark.long
def test_the_next_step_of_a_ladder_is_among_the_first() -> None:
    """A change that gains as much as the next step stands among the first of either table."""
    reached = []
    for task_name, before, after in STEPS:
        task = get_task(task_name)
        case = task.cases[1]
        profile = profile_kernel(load_kernel(before), case)
        wanted = profile.cycles - simulate(load_kernel(after), case).cycles
        edits = [one.saved for one in suggestions(profile, task)[:FIRST]]
        chips = [one.saved for one in profile.what_if[:FIRST]]
        reached.append(max(*edits, *chips, 0) >= wanted)
        print(before, after, wanted, edits, chips)
    print(sum(reached), len(reached))
    assert sum(reached) >= SHARE * len(reached)
