"""Every public function of sessions, facades, memories, environments and agents, given junk.

Only TypeError and ValueError with a message of this project, or an M890Error, may come out; what
Python says of a mistake inside ("'NoneType' object has no attribute ...") is none.
"""

from __future__ import annotations

import inspect
import operator
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from hypothesis import HealthCheck, given, settings

import m890sim
from m890_envs import KernelEditEnv, MaskInObservation
from m890sim import agents, schedule, session
from m890sim.agents import AgentSession, Dice
from m890sim.agents.optimize import optimize
from m890sim.errors import M890Error
from m890sim.schedule import Edit
from m890sim.schedule.actions import Actions
from m890sim.schedule.macros import MacroActions
from m890sim.session import Facade, KernelSession, Memory
from tests.session.junk import JUNK

MEMORY = Memory()
KERNEL = m890sim.load_kernel("vector_add_reference")
EDIT = Edit("cse", (0,))
REFUSALS = (TypeError, ValueError, M890Error, gymnasium.error.Error)
# What Python says where nobody has looked at an argument.
BARE = re.compile(
    r"object (is not|has no|does not|cannot)|not supported between|unhashable|Exceeds the limit"
    r"|takes \d+ positional|invalid literal|can only concatenate|must be a? ?real number"
    r"|list indices|index out of range|argument of type|int\(\) argument|unpack"
)
SIZED = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def made() -> KernelSession:
    return KernelSession(
        "vector_add", "add-256x512", memory=MEMORY, verify="never", budget=3, rows=1
    )


def env() -> KernelEditEnv:
    found = KernelEditEnv("vector_add", ("add-256x512",), memory=MEMORY, sites=16, verify="never")
    found.reset()
    return found


def space() -> Any:
    used = made()
    return MEMORY.space(used.task, used.chip, used.cases)


def state() -> Any:
    return MEMORY.state(space(), KERNEL)


ONE: dict[str, Callable[[Any], Any]] = {
    "KernelSession": KernelSession,
    "KernelSession.restored": KernelSession.restored,
    "KernelSession.restored.memory": lambda x: KernelSession.restored(made().snapshot(), x),
    "KernelSession.load": lambda x: made().load(x),
    "KernelSession.apply": lambda x: made().apply(x),
    "KernelSession.attempt": lambda x: made().attempt(x),
    "KernelSession.warm": lambda x: made().warm(x),
    "KernelSession.perform": lambda x: made().perform(x),
    "KernelSession.perform.most": lambda x: made().perform(1, x),
    "KernelSession.go_to": lambda x: made().go_to(x),
    "KernelSession.remember": lambda x: made().remember(x, lambda kernel: 1),
    # What a function of the user's own raises is the user's.
    "KernelSession.remember.make": lambda x: callable(x) or made().remember(object(), x),
    "KernelSession.watch": lambda x: made().watch(x),
    "KernelSession.traced": lambda x: made().traced(x),
    "KernelSession.profile": lambda x: made().profile(x),
    "KernelSession.own_case": lambda x: made().own_case(x),
    "KernelSession.knows": lambda x: made().knows(x),
    "KernelSession.evaluate": lambda x: made().evaluate(x),
    "KernelSession.clone": lambda x: made().clone(budget=x),
    "Facade": Facade,
    "Facade.told": lambda x: Facade(made(), told=x),
    "Facade.sources": lambda x: Facade(made(), sources=x),
    "Facade.load": lambda x: Facade(made()).load(x),
    "Facade.apply": lambda x: Facade(made()).apply(x),
    "Facade.attempt": lambda x: Facade(made()).attempt(x),
    "Facade.go_to": lambda x: Facade(made()).go_to(x),
    "Facade.evaluate": lambda x: Facade(made()).evaluate(x),
    "Facade.traced": lambda x: Facade(made()).traced(x),
    "Facade.foresee": lambda x: Facade(made()).foresee(x, ()),
    "Facade.foresee.drafts": lambda x: Facade(made()).foresee(operator.is_, x),
    "Facade.profile": lambda x: Facade(made()).profile(x),
    "Memory": Memory,
    "Memory.results": lambda x: Memory(results=x),
    "Memory.watch": lambda x: Memory().watch(x),
    "Memory.shared": lambda x: MEMORY.shared(x),
    "Memory.space": lambda x: MEMORY.space(x, made().chip, made().cases),
    "Memory.space.chip": lambda x: MEMORY.space(made().task, x, made().cases),
    "Memory.space.cases": lambda x: MEMORY.space(made().task, made().chip, x),
    "Memory.state": lambda x: MEMORY.state(x, KERNEL),
    "Memory.state.kernel": lambda x: MEMORY.state(space(), x),
    "Memory.check": lambda x: MEMORY.check(x, state()),
    "Memory.check.state": lambda x: MEMORY.check(space(), x),
    "Memory.edits": lambda x: MEMORY.edits(x, state()),
    "Memory.edits.state": lambda x: MEMORY.edits(space(), x),
    "Memory.successor": lambda x: MEMORY.successor(x, state(), EDIT),
    "Memory.successor.state": lambda x: MEMORY.successor(space(), x, EDIT),
    "Memory.successor.edit": lambda x: MEMORY.successor(space(), state(), x),
    "Memory.performed": lambda x: MEMORY.performed(x, state(), 1),
    "Memory.performed.state": lambda x: MEMORY.performed(space(), x, 1),
    "Memory.performed.action": lambda x: MEMORY.performed(space(), state(), x),
    "Memory.outcome": lambda x: MEMORY.outcome(x, state()),
    "Memory.outcome.state": lambda x: MEMORY.outcome(space(), x),
    "Memory.verdict": lambda x: MEMORY.verdict(x, state(), made().gate),
    "Memory.verdict.state": lambda x: MEMORY.verdict(space(), x, made().gate),
    "Memory.verdict.gate": lambda x: MEMORY.verdict(space(), state(), x),
    "Memory.profile": lambda x: MEMORY.profile(x, state(), made().cases[0]),
    "Memory.profile.state": lambda x: MEMORY.profile(space(), x, made().cases[0]),
    "Memory.profile.case": lambda x: MEMORY.profile(space(), state(), x),
    "Memory.traced": lambda x: MEMORY.traced(x, state(), made().cases[0]),
    "Memory.traced.state": lambda x: MEMORY.traced(space(), x, made().cases[0]),
    "Memory.traced.case": lambda x: MEMORY.traced(space(), state(), x),
    "session.context_of": session.context_of,
    "session.context_of.chip": lambda x: session.context_of("vector_add", x),
    "session.legal_edits": session.legal_edits,
    "session.legal_edits.task": lambda x: session.legal_edits(KERNEL, x),
    "session.legal_edits.chip": lambda x: session.legal_edits(KERNEL, None, x),
    "session.apply": lambda x: session.apply(x, EDIT),
    "session.apply.edit": lambda x: session.apply(KERNEL, x),
    "session.apply.task": lambda x: session.apply(KERNEL, EDIT, x),
    "session.apply.chip": lambda x: session.apply(KERNEL, EDIT, None, x),
    "session.apply.name": lambda x: session.apply(KERNEL, Edit(x)),
    "session.apply.site": lambda x: session.apply(KERNEL, Edit("cse", x)),
    "session.apply.argument": lambda x: session.apply(KERNEL, Edit("set_slots", (0, 0), x)),
    "session.edit_to_data": session.edit_to_data,
    "session.edit_from_data": session.edit_from_data,
    "session.parse_script": session.parse_script,
    "session.run_script": lambda x: session.run_script(x, ""),
    "session.run_script.text": lambda x: session.run_script(made(), x),
    "session.run_line": lambda x: session.run_line(x, session.parse_script("cse")[0]),
    "session.run_line.line": lambda x: session.run_line(made(), x),
    "schedule.apply": lambda x: schedule.apply(x, EDIT),
    "schedule.apply.edit": lambda x: schedule.apply(KERNEL, x),
    "schedule.apply.context": lambda x: schedule.apply(KERNEL, EDIT, x),
    "schedule.rewrite": lambda x: schedule.rewrite(x, EDIT),
    "schedule.rewrite.edit": lambda x: schedule.rewrite(KERNEL, x),
    "schedule.candidates": lambda x: list(schedule.candidates(x)),
    "schedule.legal_edits": schedule.legal_edits,
    "schedule.legal_edits.context": lambda x: schedule.legal_edits(KERNEL, x),
    "schedule.check_edit": schedule.check_edit,
    "Actions": Actions,
    "Actions.context": lambda x: Actions(4, x),
    "Actions.edit_of": lambda x: Actions(4).edit_of(x, 1),
    "Actions.edit_of.action": lambda x: Actions(4).edit_of(KERNEL, x),
    "Actions.number_of": lambda x: Actions(4).number_of(x),
    "Actions.id_of": lambda x: Actions(4).id_of(x, EDIT),
    "Actions.id_of.edit": lambda x: Actions(4).id_of(KERNEL, x),
    "Actions.by_id": lambda x: Actions(4).by_id(x, ()),
    "Actions.by_id.edits": lambda x: Actions(4).by_id(KERNEL, x),
    "Actions.mask": lambda x: Actions(4).mask(KERNEL, x),
    "Actions.mask.parts": lambda x: Actions(4).mask(KERNEL, [Edit("cse", x, x)]),
    "Actions.row_of": lambda x: Actions(4).row_of(x, EDIT),
    "Actions.row_of.edit": lambda x: Actions(4).row_of(KERNEL, x),
    "Actions.row_of.argument": lambda x: Actions(4).row_of(KERNEL, Edit("cse", (), x)),
    "Actions.argument_of": lambda x: Actions(4).argument_of(x),
    "MacroActions": MacroActions,
    "MacroActions.most": lambda x: MacroActions(most=x),
    "MacroActions.number_of": lambda x: MacroActions().number_of(x),
    "MacroActions.macro_of": lambda x: MacroActions().macro_of(x),
    "MacroActions.legal": lambda x: MacroActions().legal(x),
    "MacroActions.by_id": lambda x: MacroActions().by_id(x, ()),
    "MacroActions.by_id.edits": lambda x: MacroActions().by_id(KERNEL, x),
    "MacroActions.mask": lambda x: MacroActions().mask(KERNEL, x),
    "MacroActions.mask.parts": lambda x: MacroActions().mask(KERNEL, [Edit("cse", x, x)]),
    "MacroActions.perform": lambda x: MacroActions().perform(x, 1),
    "MacroActions.perform.action": lambda x: MacroActions().perform(KERNEL, x),
    "MacroActions.perform.most": lambda x: MacroActions().perform(KERNEL, 1, x),
    "agents.get_agent": agents.get_agent,
    "agents.run_agent": lambda x: agents.run_agent(x, made(), 0),
    "agents.run_agent.session": lambda x: agents.run_agent(agents.get_agent("greedy"), x, 0),
    "agents.run_agent.seed": lambda x: agents.run_agent(agents.get_agent("greedy"), made(), x),
    "agents.AgentSession": AgentSession,
    "agents.perform": lambda x: agents.perform(x, agents.Move("cse", None, "one", 0)),
    "agents.perform.move": lambda x: agents.perform(made(), x),
    "agents.perform.name": lambda x: agents.perform(made(), agents.Move(x, None, "one", 0)),
    "agents.perform.reach": lambda x: agents.perform(made(), agents.Move("cse", None, x, 0)),
    "agents.perform.draw": lambda x: agents.perform(made(), agents.Move("cse", None, "all", x)),
    "optimize": optimize,
    "optimize.told": lambda x: optimize(Path("none"), x),
    "Dice": Dice,
    "Dice.chance": lambda x: Dice(0).chance(x),
    "Dice.below": lambda x: Dice(0).below(x),
    "Dice.pick": lambda x: Dice(0).pick(x),
    "Dice.weighted": lambda x: Dice(0).weighted(x, [1.0]),
    "Dice.weighted.weights": lambda x: Dice(0).weighted([1], x),
    "Dice.shuffled": lambda x: Dice(0).shuffled(x),
    "KernelEditEnv.step": lambda x: env().step(x),
    "KernelEditEnv.edit_of": lambda x: env().edit_of(x),
    "KernelEditEnv.action_of": lambda x: env().action_of(x),
    "KernelEditEnv.reset": lambda x: env().reset(seed=x),
    "KernelEditEnv.reset.options": lambda x: env().reset(options=x),
    "MaskInObservation": MaskInObservation,
}


@pytest.mark.parametrize("name", ONE)
@SIZED
@given(value=JUNK)
def test_junk_is_taken_or_refused_with_a_message(name: str, value: Any) -> None:
    try:
        ONE[name](value)
    except REFUSALS as error:
        text = str(error)
        where = traceback.format_exc(limit=-2)
        assert text and len(text) < 1500, where
        assert not BARE.search(text), where


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize(
    "value",
    [10**5000, [10**5000], {"a": 10**5000}, "x" * 100_000],
    ids=["integer", "in a list", "in a dict", "text"],
)
def test_values_without_an_end_are_taken_or_refused_with_a_message(name: str, value: Any) -> None:
    try:
        ONE[name](value)
    except REFUSALS as error:
        assert str(error) and len(str(error)) < 1500
        assert not BARE.search(str(error)), traceback.format_exc(limit=-2)


ALONE = {"restart", "undo", "position", "report", "legal_edits", "snapshot", "clone"}


@pytest.mark.parametrize("kind", [KernelSession, Facade, Memory, Actions, MacroActions, Dice])
def test_no_public_method_is_left_out(kind: type) -> None:
    methods = {
        name
        for name, method in vars(kind).items()
        if not name.startswith("_")
        and callable(getattr(kind, name))
        and len(inspect.signature(getattr(kind, name)).parameters)
        > 1 - isinstance(method, staticmethod)
    }
    tried = {name.split(".")[1] for name in ONE if name.startswith(f"{kind.__name__}.")}
    assert methods - tried - ALONE == set()
