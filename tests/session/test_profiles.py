"""Profiles in a session: each counts as an evaluation and stands in the log."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from m890sim.agents import AgentSession
from m890sim.digests import digest_of
from m890sim.errors import M890Error
from m890sim.profile import profile_kernel
from m890sim.session import BudgetError, KernelSession, LogEntry, Memory
from m890sim.workloads import KERNELS
from tests.session.toys import CASE, OTHER_CASE, fences

Make = Callable[..., KernelSession]
TASK, SMALL = "vector_add", "add-256x512"


def test_profile_counts_as_one_evaluation_and_is_noted(make: Make) -> None:
    session = make(budget=3)
    entry = session.evaluate()
    data = session.profile(CASE.name)
    expected = profile_kernel(session.kernel, CASE, session.chip).to_json(what_if=False)
    assert digest_of(data) == digest_of(expected) and "what_if" not in data
    assert data["cycles"] == entry.cycles[CASE.name]
    noted = session.log[1]
    assert session.spent == 2 and session.left == 1
    assert noted.profile is not None and noted.profile.case == CASE.name
    assert noted.profile.digest == digest_of(data)
    assert noted.as_dict()["profile"] == {"case": CASE.name, "digest": digest_of(data)}
    assert (noted.digest, noted.cycles, noted.accepted) == (entry.digest, entry.cycles, False)
    assert "profile" not in entry.as_dict()
    assert session.best is entry, "a profile is never the best"


def test_profile_asked_for_again_is_free_and_nobody_can_change_it(make: Make) -> None:
    session = make(budget=2)
    session.evaluate()
    first = session.profile(CASE)
    first["cycles"] = 0
    assert session.profile(CASE)["cycles"] != 0
    assert session.spent == 2


def test_profile_beyond_the_budget_is_refused_and_gives_nothing(make: Make) -> None:
    session = make(budget=1)
    session.evaluate()
    with pytest.raises(BudgetError, match="budget of 1 evaluations is spent"):
        session.profile(CASE)
    assert session.spent == 1


def test_profile_of_a_kernel_that_was_not_evaluated_is_refused(make: Make) -> None:
    session = make(budget=5)
    session.evaluate()
    session.apply(fences(session.kernel)[0])
    with pytest.raises(ValueError, match=r"not evaluated yet; call evaluate\(\) first"):
        session.profile(CASE)
    assert session.spent == 1


def test_profile_of_another_case_is_refused(make: Make) -> None:
    session = make(budget=5)
    session.evaluate()
    with pytest.raises(ValueError, match="the session times toy"):
        session.profile(OTHER_CASE)


def test_profile_of_a_kernel_without_room_is_refused_and_costs_nothing() -> None:
    session = AgentSession(TASK, SMALL, budget=9, distributions=("normal",))
    session.evaluate()
    session.load(KERNELS["vector_add_reference"].text.replace("Tunable = 16", "Tunable = 4096"))
    assert session.evaluate().failed
    with pytest.raises(M890Error, match="E30"):
        session.profile(SMALL)
    assert session.spent == 2


def test_copies_of_a_session_know_what_was_profiled(make: Make) -> None:
    session = make(budget=4)
    session.evaluate()
    session.profile(CASE)
    for other in (session.clone(), pickle.loads(pickle.dumps(session))):
        other.profile(CASE)
        other.evaluate()
        assert other.spent == 2 and other.report()["log"] == session.report()["log"]


def test_facade_tells_profiles_and_gives_copies() -> None:
    told: list[LogEntry] = []
    settings = {"distributions": ("normal",), "memory": Memory()}
    session = AgentSession(TASK, SMALL, budget=4, told=told.append, **settings)
    session.evaluate()
    session.profile(SMALL)
    session.profile(SMALL)
    assert [entry.profile is None for entry in told] == [True, False]
    assert told[1] is session.log[1]
    with pytest.raises(BudgetError):
        clone = session.clone()
        clone.attempt(clone.legal_edits()[0])
        clone.evaluate()
    assert session.clone().profile(SMALL) == session.profile(SMALL), "what was counted stays free"
