"""The boundary: everything that comes out of a facade was counted, and nothing leads around it."""

from __future__ import annotations

import copy
import math
import pickle
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from m890sim.agents import AgentSession
from m890sim.errors import LanguageError, TaskError
from m890sim.schedule import Edit
from m890sim.session import BudgetError, Facade, KernelSession, LogEntry, Memory, Place
from m890sim.session.memory import GateSettings, Space, State
from m890sim.timing import Timing
from m890sim.workloads import KERNELS
from tests.session.toys import CASE, OTHER_CASE

Make = Callable[..., KernelSession]
SMALLER = Edit("set_tile", (), 32)
TASK, SMALL = "vector_add", "add-256x512"


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory()


def facade(memory: Memory, **settings: Any) -> AgentSession:
    given = {"budget": 5, "distributions": ("normal",), "memory": memory, **settings}
    return AgentSession(TASK, SMALL, **given)


PLAIN = (str, bytes, int, float, bool, type(None), np.ndarray, np.generic, type)
CODE = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.ModuleType,
)


def reached(root: Any, most: int = 200_000) -> list[tuple[str, Any]]:
    """Every object that attributes and items lead to, private ones too, with the way there.

    Methods are called where they need no argument and are known to give things out.
    """
    found: list[tuple[str, Any]] = []
    ways: deque[tuple[str, Any]] = deque([("facade", root)])
    seen: dict[int, Any] = {}
    while ways and len(seen) < most:
        way, thing = ways.popleft()
        if id(thing) in seen or isinstance(thing, PLAIN):
            continue
        seen[id(thing)] = thing
        found.append((way, thing))
        if isinstance(thing, types.MethodType):
            ways.append((f"{way}.__self__", thing.__self__))
        if isinstance(thing, CODE):
            continue
        if isinstance(thing, dict):
            ways += [(f"{way}[{key!r:.20}]", value) for key, value in thing.items()]
        if isinstance(thing, (list, tuple, set, frozenset)):
            ways += [(f"{way}[{number}]", value) for number, value in enumerate(thing)]
        for name in dir(thing):
            if name in ("__class__", "__doc__", "__dict__", "__weakref__"):
                continue
            try:
                ways.append((f"{way}.{name}", getattr(thing, name)))
            except Exception:
                continue
    return found


def test_no_attribute_leads_from_a_facade_to_its_session(memory: Memory) -> None:
    used = facade(memory)
    used.evaluate()
    used.apply(used.legal_edits()[0])
    starts = (used, used.position(), used.clone(), used.evaluate(), used.report(), used.log)
    secret = (KernelSession, Memory, Space, State, GateSettings)
    for start in (*starts, used.traced(SMALL), used.best, used.cases, used.task):
        for way, thing in reached(start, 20_000):
            assert not isinstance(thing, secret), way
    assert not hasattr(used, "__dict__")


def test_walk_of_attributes_finds_what_a_session_does_not_hide(memory: Memory) -> None:
    session = KernelSession(TASK, SMALL, memory=memory)
    assert any(isinstance(thing, Memory) for _, thing in reached(session, 2000))
    holder = types.SimpleNamespace(inner=[{"key": session}])
    assert any(isinstance(thing, KernelSession) for _, thing in reached(holder, 2000))


@pytest.mark.parametrize(
    "name",
    ["budget", "verify", "cases", "chip", "task", "memory", "gate", "seed", "_gate", "_space"],
)
def test_nothing_that_measures_can_be_set_on_a_facade(memory: Memory, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(facade(memory), name, None)


@pytest.mark.parametrize("name", ["budget", "verify", "memory", "gate", "cases", "chip", "task"])
def test_nothing_that_measures_can_be_set_on_a_session(memory: Memory, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(KernelSession(TASK, SMALL, memory=memory), name, None)


def test_facade_keeps_its_session(memory: Memory) -> None:
    used = facade(memory, budget=1)
    with pytest.raises(ValueError, match="has its session already"):
        Facade.__init__(used, KernelSession(TASK, SMALL, memory=memory))
    with pytest.raises(ValueError, match="has its session already"):
        AgentSession.__init__(used, TASK, SMALL, budget=1000, memory=memory)
    assert used.budget == 1


def test_trace_of_a_kernel_that_was_not_evaluated_is_refused(memory: Memory) -> None:
    used = facade(memory)
    with pytest.raises(ValueError, match=r"was not evaluated yet; call evaluate\(\) first"):
        used.traced(used.cases[0])
    used.evaluate()
    trace = used.traced(used.cases[0])
    assert isinstance(trace, Timing) and trace.cycles == used.log[0].cycles[SMALL]
    assert used.traced(SMALL).cycles == trace.cycles
    used.apply(used.legal_edits()[0])
    with pytest.raises(ValueError, match="not evaluated yet"):
        used.traced(used.cases[0])
    assert used.spent == 1


def test_trace_is_of_the_cases_of_the_session_alone(memory: Memory) -> None:
    used = facade(memory)
    used.evaluate()
    with pytest.raises(ValueError, match=f"the session times {SMALL}; 'add-600x96' is none"):
        used.traced(used.task.case("add-600x96"))
    with pytest.raises(TypeError, match="a case must be a Case or its name, not 3"):
        used.traced(3)  # type: ignore[arg-type]


def test_timings_cost_evaluations_however_they_are_asked_for(memory: Memory) -> None:
    """A hill climb by traces alone, by clones, and by jobs of another session: none is free."""
    used = facade(memory, budget=3)
    used.evaluate()
    timed = 0
    for edit in used.legal_edits()[:20]:
        for other in (used, used.clone(), copy.copy(used), copy.deepcopy(used)):
            place = other.position()
            other.apply(edit)
            for ask in (lambda o=other: o.traced(SMALL), other.evaluate):
                try:
                    found = ask()
                except (ValueError, BudgetError):
                    continue
                timed += isinstance(found, LogEntry) and found.index > 0
            other.go_to(place)
    assert timed == used.spent - 1 == 2


def test_clones_together_spend_no_more_than_the_budget(memory: Memory) -> None:
    used = facade(memory, budget=9)
    used.evaluate()
    other = used.clone()
    assert other.left == 0 and isinstance(other, Facade)
    again = other.clone()
    for each in (other, again):
        each.apply(each.legal_edits()[0])
        with pytest.raises(BudgetError):
            each.evaluate()
        each.restart()
        assert each.evaluate().index == 0, "what was paid for may be asked again"
    assert used.spent == 1 and used.left == 8


def test_attribution_that_sessions_share_cannot_be_written(memory: Memory) -> None:
    used = facade(memory)
    attribution = used.evaluate().cases[0].attribution
    assert attribution is not None
    with pytest.raises(ValueError):
        attribution.cycles[0] = 0
    with pytest.raises(ValueError):
        attribution.cycles.flags.writeable = True


def test_places_come_back_and_foreign_ones_are_refused(memory: Memory) -> None:
    used = facade(memory)
    place = used.position()
    first = used.kernel
    edit = used.legal_edits()[0]
    used.apply(edit)
    after = used.position()
    used.go_to(place)
    assert used.kernel is first is place.kernel and used.edits == () == place.edits
    used.go_to(after)
    assert used.edits == (edit,) == after.edits
    assert used.undo() == edit
    with pytest.raises(ValueError, match="this place is no session's"):
        used.go_to(Place())
    with pytest.raises(TypeError, match="place must be what position"):
        used.go_to(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another task, cases, chip or memory"):
        facade(Memory()).go_to(place)
    with pytest.raises(AttributeError):
        place.kernel = first  # type: ignore[misc]


def test_source_is_handed_in_as_text(memory: Memory) -> None:
    used = facade(memory)
    kernel = used.load(KERNELS["vector_add_expert"].text)
    assert used.kernel is kernel and kernel.name == "vector_add_expert" and used.edits == ()
    assert used.evaluate().index == 0


@pytest.mark.parametrize("text", ["vector_add_expert", "/etc/hostname", "../secret.py", "\0"])
def test_names_and_paths_are_no_sources(memory: Memory, text: str) -> None:
    used = facade(memory)
    before = used.kernel
    with pytest.raises(LanguageError):
        used.load(text)
    assert used.kernel is before


def test_other_sources_are_refused(memory: Memory) -> None:
    used = facade(memory)
    with pytest.raises(TaskError, match="does not fit task 'vector_add'"):
        used.load(KERNELS["matmul_reference"].text)
    with pytest.raises(TypeError, match="source must be the text of a kernel or a Kernel"):
        used.load(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a source may have 1,000,000 characters"):
        used.load(" " * 1_000_001)
    with pytest.raises(ValueError, match="takes edits alone"):
        facade(memory, sources=False).load(KERNELS["vector_add_expert"].text)


def test_facade_tells_of_every_new_entry(memory: Memory) -> None:
    told: list[LogEntry] = []
    used = facade(memory, told=told.append)
    used.evaluate()
    used.evaluate()
    used.apply(used.legal_edits()[0])
    used.evaluate("best")
    assert tuple(told) == used.log and len(told) == 2
    with pytest.raises(ValueError, match="verify='best', not 'always'"):
        used.evaluate("always")


def test_facade_takes_a_session_and_a_function(memory: Memory) -> None:
    session = KernelSession(TASK, SMALL, memory=memory)
    assert Facade(session).report() == session.report()
    with pytest.raises(TypeError, match="session must be a KernelSession, not 'x'"):
        Facade("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="told must be a function or None, not 3"):
        Facade(session, told=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Facade(session))


def test_weaker_check_than_the_sessions_own_is_refused(make: Make) -> None:
    """A zeroed kernel, evaluated with "never", was the best of a session that reported "best"."""
    text = KERNELS["attention_reference"].text
    loop = "range(0, i * BQ + rows, BK)"
    assert loop in text
    from m890sim import parse

    wrong = parse(text.replace(loop, "range(0, 0, BK)"), filename="zeroed.py")
    for own, weaker in (("best", "never"), ("always", "best"), ("always", "never")):
        session = make(verify=own)
        session.evaluate()
        session.load(wrong)
        with pytest.raises(ValueError, match=f"verify='{own}', and '{weaker}' checks less"):
            session.evaluate(weaker)
        assert session.spent == 1
        session.evaluate()
        assert session.report()["verify"] == own
        assert session.best is not None and session.best.index == 0


def test_agents_work_behind_the_facade(memory: Memory) -> None:
    from m890sim.agents import AGENTS, run_agent

    got: list[object] = []

    class Looker(type(AGENTS["greedy"])):  # type: ignore[misc]
        def search(self, session: object, seed: int) -> None:
            got.append(session)

    run_agent(Looker(), KernelSession(TASK, SMALL, budget=2, memory=memory), 0)
    assert isinstance(got[0], Facade) and not isinstance(got[0], KernelSession)


def test_best_of_equal_products_is_counted_exactly(memory: Memory) -> None:
    used = facade(memory, budget=4)
    used.evaluate()
    used.apply(used.legal_edits()[0])
    used.evaluate()
    logged = [math.prod(c for c in entry.cycles.values() if c) for entry in used.log]
    assert used.best is not None
    assert math.prod(c for c in used.best.cycles.values() if c) == min(logged)


def test_cases_of_another_session_are_not_reached(make: Make) -> None:
    session = Facade(make(cases=CASE, verify="never"))
    session.evaluate()
    with pytest.raises(ValueError, match="'toy-2' is none of these cases"):
        session.traced(OTHER_CASE)
