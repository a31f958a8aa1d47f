"""Every edit keeps what a kernel computes: of small, generated, built-in and visited kernels."""

from __future__ import annotations

import random

import pytest

from m890sim.schedule import EDITS, legal_edits, rewrite
from tests.execute.pipelined import assert_same_dataflow
from tests.schedule.editing import STARTS, assert_kept, start_of, walk_from

ENOUGH = 6  # results of an edit that are compared; the least that all kernels give together
AT_ONCE = 2  # of one kernel


@pytest.mark.parametrize("name", EDITS)
def test_edit_keeps_what_kernels_compute(name: str) -> None:
    rng = random.Random(name)
    count, kernels = 0, 0
    for walk in map(walk_from, rng.sample(STARTS, len(STARTS))):
        for start in walk:
            legal = legal_edits(start.kernel, start.context, name)
            for edit in rng.sample(legal, min(AT_ONCE, len(legal))):
                changed = rewrite(start.kernel, edit, start.context)
                assert_kept(start, changed, EDITS[name].exact, str(edit))
            count += min(AT_ONCE, len(legal))
            kernels += bool(legal)
        if count >= ENOUGH:
            break
    assert count >= ENOUGH and kernels >= ENOUGH // AT_ONCE


@pytest.mark.parametrize("name", ["pipeline", "stage_later", "stage_earlier", "hoist", "sink"])
def test_stages_may_run_in_any_order_that_the_slots_allow(name: str) -> None:
    count = 0
    for start in map(start_of, STARTS):
        for edit in legal_edits(start.kernel, start.context, name)[:1]:
            changed = rewrite(start.kernel, edit, start.context)
            assert_same_dataflow((changed, *start.launch), f"{start.name}: {edit}")
            count += 1
        if count >= ENOUGH:
            break
    assert count >= ENOUGH
