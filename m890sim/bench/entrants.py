"""Entrants: what AGENT may be: a built-in name, `module:object`, or the file of a saved policy."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from m890sim.agents.agent import Agent
from m890sim.agents.registry import AGENTS, AgentError, get_agent
from m890sim.messages import described

GROUP = "m890sim.agents"  # of entry points: a file's suffix without the dot -> its loader
BASELINE_GROUP = "m890sim.baselines"  # of entry points: functions that give files of saved agents
# Each comes before those that it is a yardstick for.
BASELINES = (
    *("random-walk", "random-search", "random-macro"),
    *("greedy", "annealing", "evolution", "recipe"),
)
_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entrant:
    """An agent of a benchmark, as its page knows it; see `Agent` for the last three.

    spec: what gives it again in another process.
    """

    spec: str
    name: str
    text: str
    trained: str
    anytime: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without `spec`, which may be a path of one machine."""
        return {name: getattr(self, name) for name in ("name", "text", "trained", "anytime")}


def saved_baselines() -> list[str]:
    """Files of saved agents that installed packages have among the baselines."""
    points = sorted(entry_points(group=BASELINE_GROUP), key=lambda point: point.name)
    return [file for point in points for file in point.load()()]


def entrant_of(data: Mapping[str, Any]) -> Entrant:
    """An entrant of `as_dict`, whose agent need not be here. Raises: KeyError, TypeError."""
    for name, kind in (("name", str), ("text", str), ("trained", str), ("anytime", bool)):
        if type(data[name]) is not kind:
            raise TypeError(f"an agent's {name} must not be {data[name]!r:.60}")
    return Entrant("", data["name"], data["text"], data["trained"], data["anytime"])


def specs_of(given: list[str]) -> list[str]:
    """Agents, with the sets that are named among them taken apart; none twice."""
    found: list[str] = []
    for spec in given:
        if spec == "all":
            found += AGENTS
        elif spec == "baselines":
            found += [*BASELINES, *saved_baselines()]
        else:
            found.append(spec)
    return list(dict.fromkeys(found))


def entrant(spec: str) -> Entrant:
    """The agent of a name, an object or a file. Raises: AgentError, saying what to give."""
    agent = agent_of(spec)
    where = str(Path(spec).resolve()) if _is_file(spec) else spec
    return Entrant(where, agent.name, agent.text, agent.trained, agent.anytime)


def agent_of(spec: str) -> Agent:
    """The agent itself. Raises: AgentError, saying what to give."""
    if spec in AGENTS:
        return get_agent(spec)
    if _is_file(spec):
        return _of_file(Path(spec))
    if _OBJECT.fullmatch(spec):
        return _of_object(spec)
    raise AgentError(
        f"unknown agent {described(spec)}; give one of {', '.join(AGENTS)}, all, baselines, "
        "module:object, or the file of a saved policy"
    )


def _is_file(spec: str) -> bool:
    return spec not in AGENTS and bool(Path(spec).suffix) and ":" not in spec


def _of_object(spec: str) -> Agent:
    module, _, name = spec.partition(":")
    here = os.getcwd()
    if here not in sys.path:  # as `python -m` has it: a user's own module lies beside the run
        sys.path.insert(0, here)
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise AgentError(f"agent {spec}: {error}") from error
    if isinstance(found, type) or (callable(found) and not isinstance(found, Agent)):
        found = found()
    return _checked(found, spec)


def _of_file(path: Path) -> Agent:
    if not os.path.lexists(path):
        raise AgentError(f"{path} does not exist; give the file of a saved policy")
    kind = path.suffix.removeprefix(".")
    loaders = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in loaders:
        known = ", ".join(f".{name}" for name in sorted(loaders)) or "none"
        raise AgentError(
            f"no installed package reads agents from {path.name} (known: {known}); saved policies "
            "are .npz files that m890_envs reads, which comes with m890sim"
        )
    return _checked(loaders[kind].load()(path), str(path))


def _checked(found: Any, spec: str) -> Agent:
    if not isinstance(found, Agent):
        raise AgentError(
            f"agent {spec} must be an m890sim.agents.Agent, or give one, not {described(found)}"
        )
    name = getattr(found, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]{1,60}", name, re.ASCII):
        raise AgentError(
            f"agent {spec} must have a name of letters, digits, '.', '+', '-' and '_', not "
            f"{described(name)}"
        )
    return found
