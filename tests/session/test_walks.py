"""Random walks over the real edits: undo leads back, clones and repeated walks agree."""

from __future__ import annotations

import contextlib
import random

import pytest

from m890sim.schedule import Edit, EditError, candidates, legal_edits
from m890sim.session import KernelSession, Memory
from tests.session.toys import CASE, OTHER_CASE

MEMORY = Memory()
STARTS = ("attention_reference", "attention_textbook", "attention_3_slots")


def session_at(start: str, memory: Memory = MEMORY) -> KernelSession:
    return KernelSession("extend", (CASE, OTHER_CASE), start=start, verify="never", memory=memory)


def step(session: KernelSession, chooser: random.Random) -> Edit | None:
    """One random legal edit, of a kind drawn first; None where none was hit upon."""
    by_name: dict[str, list[Edit]] = {}
    for edit in candidates(session.kernel):
        by_name.setdefault(edit.name, []).append(edit)
    for _ in range(50):
        edit = chooser.choice(by_name[chooser.choice(list(by_name))])
        with contextlib.suppress(EditError):
            session.apply(edit)
            return edit
    return None


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_undo_leads_back_over_the_same_kernels(start: str, seed: int) -> None:
    chooser = random.Random(f"{start} {seed}")
    session = session_at(start)
    digests = [session.digest]
    for _ in range(6):
        if step(session, chooser) is None:
            break
        digests.append(session.digest)
    edits = list(session.edits)
    assert len(edits) == len(digests) - 1
    for expected in reversed(digests[:-1]):
        assert session.undo() == edits.pop()
        assert session.digest == expected


@pytest.mark.parametrize("start", STARTS)
def test_walk_is_the_same_again_and_with_a_memory_of_its_own(start: str) -> None:
    reports = []
    for memory in (MEMORY, MEMORY, Memory(states=1, results=1)):
        chooser = random.Random(start)
        session = session_at(start, memory)
        for number in range(5):
            step(session, chooser)
            session.evaluate()
            if number % 3 == 2 and session.edits:
                session.undo()
        reports.append(session.report())
    assert reports[0] == reports[1] == reports[2]


def test_clones_walk_apart_from_each_other() -> None:
    session = session_at("attention_reference")
    session.evaluate()
    others = [session.clone() for _ in range(3)]
    for seed, other in enumerate(others):
        step(other, random.Random(seed))
        other.evaluate()
    assert session.edits == () and session.spent == 1
    for seed, other in enumerate(others):
        alone = session.clone()
        step(alone, random.Random(seed))
        alone.evaluate()
        assert alone.report() == other.report()


def test_legal_edits_are_those_of_schedule() -> None:
    session = session_at("attention_3_slots")
    assert list(session.legal_edits()) == legal_edits(session.kernel)
