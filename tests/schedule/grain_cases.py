"""Kernels and cases that the tests of packing and splitting share."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from m890sim import execute, load_kernel
from m890sim.kernel import ir, print_kernel
from m890sim.kernel.printer import print_head
from m890sim.language import check, parse
from m890sim.schedule import Edit, EditError, rewrite
from m890sim.schedule.core.tree import sites
from m890sim.session.script import parse_script
from m890sim.workloads import AttentionCase

# Ragged, several heads a key head, one sequence without a prefix, shuffled pages.
EXTEND = AttentionCase("any", "extend", (100, 0), (150, 70), 4, 2, 16, 3, True)
DECODE = AttentionCase("any", "decode", (150, 70, 1), (1, 1, 1), 6, 2, 16, 3, True)

SCRIPT = """
remove_fence *
sink kt =
sink vt =
sink p =
sink s =
sink block_l
sink new_m
sink alpha
fuse_subtract **
fuse_row_sum **
exp_to_exp2 **
cse **
fuse_mul_mul **
drop_tile neg *
div_to_recip *
split_transfer 2 load(kt *
split_transfer 3 load(vt *
set_slots 2 kt = *
set_slots 2 vt = *
pipeline 3 for j *
"""


def case_of(name: str) -> AttentionCase:
    """The small case that fits a kernel."""
    return DECODE if name.startswith("decode") else EXTEND


def edited(kernel: ir.Kernel, script: str) -> ir.Kernel:
    """The kernel after the lines of a script; lines that fit nowhere are passed over."""
    for line in parse_script(script):
        while True:
            made = False
            for site, text in reversed([((), ""), *_texts(kernel)]):
                if line.text in text:
                    try:
                        kernel = rewrite(kernel, Edit(line.name, site, line.argument))
                    except EditError:
                        continue
                    made = True
                    if not line.stars:
                        break
            if not made or line.stars < 2:
                break
    return kernel


def _texts(kernel: ir.Kernel) -> list[tuple[tuple[int, ...], str]]:
    return [(site, print_head(stmt)) for site, stmt in sites(kernel)]


def phases(kernel: ir.Kernel) -> list[tuple[int, ...]]:
    """The sites of a kernel's phases."""
    return [(n,) for n, stmt in enumerate(kernel.body) if isinstance(stmt, ir.Cores)]


@cache
def outputs(kernel: ir.Kernel, case: AttentionCase, distribution: str | None = None) -> Any:
    """What a kernel computes on a case."""
    return execute(kernel, case, case.make_inputs(1, distribution))["o"]


def assert_same(before: ir.Kernel, after: ir.Kernel, case: AttentionCase) -> None:
    """The edited kernel passes the check, has a text, and computes the same within bf16."""
    check(after)
    assert parse(print_kernel(after)) == after
    for distribution in (None, "large_maxima"):
        expected = outputs(before, case, distribution)
        actual = outputs(after, case, distribution)
        scale = np.abs(expected).max(axis=-1, keepdims=True)
        assert np.all(np.isfinite(actual))
        assert np.all(np.abs(actual - expected) <= 0.012 * scale)


def built_in(name: str) -> ir.Kernel:
    """A built-in kernel."""
    return load_kernel(name)
