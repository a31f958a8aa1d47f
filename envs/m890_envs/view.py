"""What an agent sees of a kernel: worked out once, kept in the session's memory, then copied."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from m890_envs.choices import Choices, Workplace
from m890_envs.features import (
    Floats,
    case_features,
    chip_features,
    profile_features,
    speedup_features,
    tunable_features,
)
from m890_envs.fields import (
    CASE,
    CHIP,
    EDGE,
    EDGES_A_NODE,
    KIND,
    MOST_CASES,
    MOST_TENSORS,
    NODE,
    PROFILE,
    PROFILE_ENGINES,
    PROGRAM,
    PROGRESS,
    STATEMENT_KINDS,
    TENSOR,
    TUNABLE,
    TUNABLES,
    UNIFORM_CASE,
    UNIFORM_CHIP,
    UNIFORM_PROGRAM,
    Column,
)
from m890_envs.graph import graph_arrays
from m890_envs.operands import OperandTable
from m890_envs.program import program_features
from m890_envs.uniform import (
    case_rows,
    chip_numbers,
    fill_speedups,
    kind_rows,
    program_rows,
    tensor_rows,
)
from m890sim.kernel import ir
from m890sim.schedule import Edit
from m890sim.session import LogEntry
from m890sim.session.arguments import choice_of

OBSERVATIONS = ("task", "uniform", "graph")

_SPEEDUP = [field.name for field in CASE].index("speedup")
_SHARE = [field.name for field in PROGRAM].index("share")

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class View:
    """A kernel as agents see it. Environments share it, so its arrays are copied before use."""

    ids: array[int]  # of the legal actions but STOP, rising
    edits: Sequence[Edit]  # beside `ids` where actions are single edits
    cycles: np.ndarray[Any, np.dtype[np.int64]]  # by case, -1 where it could not be timed
    shares: array[float]  # by statement, the kernel first: its share of the time
    arrays: Arrays  # of the observation, without the zeros behind them


class Viewer:
    """Makes views for one choice of task, cases, chip, actions, observation and sites."""

    def __init__(
        self,
        session: Workplace,
        choices: Choices,
        observation: str,
        sites: int,
        shown: str | None,
    ) -> None:
        names = [case.name for case in session.cases]
        if shown is not None:
            choice_of("shown", shown, names)
        self.shown = names.index(shown) if shown is not None else 0  # a case's number
        session.watch(session.cases[self.shown])
        self.choices, self.observation, self.sites = choices, observation, sites
        yardsticks = session.report()["cases"]
        references = [entry["reference_cycles"] for entry in yardsticks]
        bounds = [entry["lower_bound_cycles"] for entry in yardsticks]
        if observation == "task":
            self.chip = chip_features(session.chip)
            self.case = case_features(session.cases, references, bounds)
        else:
            self.chip = chip_numbers(session.chip)
            self.case = case_rows(session.cases, references, bounds)
        self._shapes = {name: inner.shape for name, inner in self.space().items()}
        numbering = type(choices), choices.n, choices.most
        self._key = ("m890_envs.view", *numbering, observation, sites, self.shown)

    def space(self) -> spaces.Dict:
        """The space of observations."""
        if self.observation == "uniform":
            return uniform_space(self.sites)
        found = _own_space()
        if self.observation == "task":
            cases, columns = self.case.shape
            found["case"] = _box((*CASE, *(TUNABLE,) * (columns - len(CASE))), cases)
            found["chip"] = _box(CHIP)
            found["program"] = _box(PROGRAM, self.sites)
            return spaces.Dict(found)
        found |= _shared_space()
        room = EDGES_A_NODE * self.sites
        found["counts"] = spaces.Box(0, 2**31 - 1, (3,), dtype=np.int32)
        found["edges"] = spaces.Box(0, self.sites - 1, (2, room), dtype=np.int32)
        found["edge_features"] = _box(EDGE, room)
        found["nodes"] = _box(NODE, self.sites)
        return spaces.Dict(found)

    def view(self, session: Workplace, entry: LogEntry) -> View:
        """The view of the session's kernel, which `entry` is the evaluation of."""
        return session.remember(self._key, lambda kernel: self._make(session, kernel, entry))

    def arrays(self, view: View) -> Arrays:
        """The view's arrays of the observation, fresh ones in their full shapes."""
        found = {}
        for name, kept in view.arrays.items():
            shape = self._shapes.get(name)
            if shape is None or shape == kept.shape:
                found[name] = kept.copy()
            else:
                found[name] = np.zeros(shape, dtype=kept.dtype)
                found[name][tuple(map(slice, kept.shape))] = kept
        return found

    def mask(self, view: View) -> np.ndarray[Any, np.dtype[np.int8]]:
        """Which actions are legal: int8 array (n,), a fresh one."""
        mask = np.zeros(self.choices.n, dtype=np.int8)
        mask[0] = 1
        mask[np.frombuffer(view.ids, dtype=np.intc)] = 1
        return mask

    def _make(self, session: Workplace, kernel: ir.Kernel, entry: LogEntry) -> View:
        ids, edits = self.choices.legal(session)
        shown = session.cases[self.shown]
        timing = session.traced(shown) if entry.cases[self.shown].cycles is not None else None
        own = program_features(kernel, shown, session.chip, timing)
        return View(
            ids=array("i", ids),
            edits=edits,
            cycles=np.array(
                [-1 if e.cycles is None else e.cycles for e in entry.cases], dtype=np.int64
            ),
            shares=array("f", own[:, _SHARE]),
            arrays={
                "profile": profile_features(entry.cases),
                "tunables": tunable_features(kernel),
                **self._arrays(session, kernel, entry, own),
            },
        )

    def _arrays(
        self, session: Workplace, kernel: ir.Kernel, entry: LogEntry, own: Floats
    ) -> Arrays:
        """The arrays in which observations differ."""
        case = self.case.copy()
        if self.observation == "task":
            case[:, _SPEEDUP : _SPEEDUP + 2] = speedup_features(entry.cases)
            return {"case": case, "program": own[: self.sites].copy()}
        fill_speedups(case, entry.cases)
        operands = OperandTable(kernel, session.cases[self.shown])
        found: Arrays = {"case": case, "tensors": tensor_rows(operands)}
        if self.observation == "uniform":
            found["kinds"] = kind_rows(kernel, own)
            found["program"] = program_rows(own, operands, self.sites)
            return found
        return found | graph_arrays(own, operands, self.sites)


def uniform_space(sites: int) -> spaces.Dict:
    """The space of the uniform observation, the same for every task, cases and chip."""
    found = _own_space() | _shared_space()
    found["kinds"] = _box(KIND, len(STATEMENT_KINDS))
    found["program"] = _box(UNIFORM_PROGRAM, sites)
    return spaces.Dict(found)


def _own_space() -> dict[str, spaces.Space[Any]]:
    """What all observations have alike."""
    return {
        "profile": _box(PROFILE, len(PROFILE_ENGINES)),
        "progress": _box(PROGRESS),
        "tunables": _box((TUNABLE,) * TUNABLES),
    }


def _shared_space() -> dict[str, spaces.Space[Any]]:
    """What those have alike that are the same for every task."""
    return {
        "case": _box(UNIFORM_CASE, 1 + MOST_CASES),
        "chip": _box(UNIFORM_CHIP),
        "tensors": _box(TENSOR, MOST_TENSORS),
    }


def _box(fields: Sequence[Column], rows: int | None = None) -> spaces.Box:
    low = np.array([field.low for field in fields], dtype=np.float32)
    high = np.array([field.high for field in fields], dtype=np.float32)
    if rows is not None:
        low, high = np.tile(low, (rows, 1)), np.tile(high, (rows, 1))
    return spaces.Box(low, high, dtype=np.float32)
