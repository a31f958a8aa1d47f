"""No edit can be told from the kernel before it, over the judge's finite fields.

There is no rounding in a field: edits that round elsewhere are held to the same. What floats do is
in test_edits.py.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from m890sim.errors import M890Error
from m890sim.kernel import ir
from m890sim.language import check
from m890sim.schedule import EDITS, Edit, legal_edits, rewrite
from m890sim.schedule.core.tree import replace, sites
from m890sim.workloads import KERNELS
from tests.schedule.editing import STARTS, Start, start_of, walk_from
from tests.schedule.equivalence import compared

ENOUGH = 3  # results of an edit that are compared
AT_ONCE = 2  # of one kernel, where all kernels are taken
MOST_UNDECIDED = 0.01  # share of the results: what rests on an exponential of an exponential
MISTAKES = 20  # that must be told
SMALL = [name for name in STARTS if name not in KERNELS]


def starts_of(name: str) -> Iterator[Start]:
    """Kernels for an edit in an order of its own, small ones first."""
    rng = random.Random(name)
    for start in (*rng.sample(SMALL, len(SMALL)), *rng.sample(list(KERNELS), len(KERNELS))):
        yield from walk_from(start)


@pytest.mark.parametrize("name", EDITS)
def test_exact_equivalence_cannot_tell_an_edit(name: str) -> None:
    count = 0
    for start in starts_of(name):
        if legal := legal_edits(start.kernel, start.context, name):
            edit = random.Random(start.name).choice(legal)
            answer, where = compared(start, rewrite(start.kernel, edit, start.context))
            assert answer == "equivalent", f"{start.name}: {edit}: {answer}, {where}"
            count += 1
        if count == ENOUGH:
            break
    assert count == ENOUGH


@pytest.mark.long
def test_exact_equivalence_decides_the_edits_of_all_kernels() -> None:
    decided, undecided = Counter[str](), []
    for start in (start for name in STARTS for start in walk_from(name)):
        rng = random.Random(start.name)
        kinds: dict[str, list[Edit]] = {}
        for edit in legal_edits(start.kernel, start.context):
            kinds.setdefault(edit.name, []).append(edit)
        for name, legal in kinds.items():
            for edit in rng.sample(legal, min(AT_ONCE, len(legal))):
                answer, where = compared(start, rewrite(start.kernel, edit, start.context))
                assert answer != "different", f"{start.name}: {edit}: {where}"
                decided[name] += answer == "equivalent"
                if answer != "equivalent":
                    undecided.append(f"{start.name}: {edit}: {where}")
    print(dict(decided), *undecided, sep="\n")
    assert min(decided[name] for name in EDITS) >= ENOUGH
    assert len(undecided) <= MOST_UNDECIDED * decided.total()


def test_exact_equivalence_tells_a_missing_instruction() -> None:
    told = Counter[str]()
    for start in map(start_of, SMALL):
        rng = random.Random(start.name)
        places = [site for site, stmt in sites(start.kernel) if isinstance(stmt, ir.Instr)]
        for site in rng.sample(places, min(len(places), 8)):
            changed = replace(start.kernel, site)
            try:
                check(changed)
                actual, expected = start.run(changed, True), start.run(start.kernel, True)
            except M890Error:
                continue  # it reads what is no longer written
            if all(
                np.array_equal(actual.outputs[name], values, equal_nan=True)
                for name, values in expected.outputs.items()
            ):
                continue  # nothing that it wrote is read
            answer, _ = compared(start, changed)
            assert answer != "equivalent", f"{start.name}: {site}"
            told[answer] += 1
    assert told["different"] >= 2 * told["not decided"] and told["different"] >= MISTAKES
