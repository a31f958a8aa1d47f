"""Proposals: what a profile speaks for comes first, each made by its edits, no kernel twice."""

from __future__ import annotations

from itertools import islice

import pytest

from m890sim.profile import profile_kernel
from m890sim.profile.proposals import proposals
from m890sim.profile.suggest import candidates, context_for
from m890sim.schedule import rewrite
from m890sim.workloads import get_task, load_kernel


def profiled(name: str, task: str) -> tuple[object, object]:
    found = get_task(task)
    return profile_kernel(load_kernel(name), found.cases[0], "m890"), found


@pytest.mark.parametrize(
    ("name", "task"),
    [("row_softmax_reference", "row_softmax"), ("vector_add_expert", "vector_add")],
)
def test_each_is_what_its_edits_make_and_no_kernel_comes_twice(name: str, task: str) -> None:
    profile, found = profiled(name, task)
    context = context_for(profile, found)
    seen = [profile.kernel]
    for one in proposals(profile, found):
        kernel = profile.kernel
        for edit in one.edits:
            kernel = rewrite(kernel, edit, context)
        assert kernel == one.kernel and one.kernel not in seen
        seen.append(one.kernel)
    # Whatever a single edit or a macro makes is among them.
    assert {one.kernel for one in candidates(profile, found)} <= set(seen)


def test_fences_that_hold_everything_up_are_the_first_to_go() -> None:
    profile, found = profiled("attention_head_reference", "attention_head")
    first = next(proposals(profile, found))
    assert first.what.startswith("no fences") and "stand still" in first.reason
    assert {edit.name for edit in first.edits} == {"remove_fence"} and first.weight > 0.3


def test_what_one_finding_speaks_for_does_not_stand_in_one_row() -> None:
    profile, found = profiled("attention_head_reference", "attention_head")
    names = [one.edits[-1].name for one in islice(proposals(profile, found), 6)]
    assert len(set(names)) >= 5
