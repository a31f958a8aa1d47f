"""What an agent sees of a kernel: worked out once, kept in the session's memory, then copied."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

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
    PROFILE,
    PROFILE_ENGINES,
    PROGRAM,
    PROGRESS,
    TUNABLE,
    TUNABLES,
    Field,
)
from m890_envs.program import program_features
from m890sim.kernel.ir import Kernel
from m890sim.schedule import Edit
from m890sim.schedule.actions import Actions
from m890sim.session import KernelSession, LogEntry, context_of
from m890sim.session.arguments import choice_of, integer_of

MOST_SITES = 4096  # the observation has a row for each, the mask one number for each and edit

_SPEEDUP = [field.name for field in CASE].index("speedup")


@dataclass(frozen=True, slots=True)
class View:
    """A kernel as agents see it. Environments share it, so its arrays are copied before use."""

    mask: np.ndarray[Any, np.dtype[np.int8]]
    ids: array[int]  # of the legal edits, rising
    edits: list[Edit]  # beside `ids`
    cycles: np.ndarray[Any, np.dtype[np.int64]]  # by case, -1 where it could not be timed
    case: Floats
    profile: Floats
    program: Floats
    tunables: Floats


class Viewer:
    """Makes views for one choice of task, cases, chip and number of sites."""

    def __init__(self, session: KernelSession, sites: int, shown: str | None) -> None:
        names = [case.name for case in session.cases]
        integer_of("sites", sites, 1, MOST_SITES)
        if shown is not None:
            choice_of("shown", shown, names)
        self.shown = names.index(shown) if shown is not None else 0  # a case's number
        session.watch(session.cases[self.shown])
        self.actions = Actions(sites, context_of(session.task, session.chip))
        self.chip = chip_features(session.chip)
        yardsticks = session.report()["cases"]
        self.case = case_features(
            session.cases,
            [entry["reference_cycles"] for entry in yardsticks],
            [entry["lower_bound_cycles"] for entry in yardsticks],
        )
        self._key = ("m890_envs.view", sites, self.shown)

    def space(self) -> spaces.Dict:
        """The space of observations."""
        cases, columns = self.case.shape
        return spaces.Dict(
            {
                "case": _box((*CASE, *(TUNABLE,) * (columns - len(CASE))), cases),
                "chip": _box(CHIP),
                "profile": _box(PROFILE, len(PROFILE_ENGINES)),
                "program": _box(PROGRAM, self.actions.sites),
                "progress": _box(PROGRESS),
                "tunables": _box((TUNABLE,) * TUNABLES),
            }
        )

    def view(self, session: KernelSession, entry: LogEntry) -> View:
        """The view of the session's kernel, which `entry` is the evaluation of."""
        return session.remember(self._key, lambda kernel: self._make(session, kernel, entry))

    def _make(self, session: KernelSession, kernel: Kernel, entry: LogEntry) -> View:
        found = sorted(self.actions.by_id(kernel, session.legal_edits()).items())
        mask = np.zeros(self.actions.n, dtype=np.int8)
        mask[0] = 1
        mask[[number for number, _ in found]] = 1
        case = self.case.copy()
        case[:, _SPEEDUP : _SPEEDUP + 2] = speedup_features(entry.cases)
        sites, shown = self.actions.sites, session.cases[self.shown]
        timing = session.traced(shown) if entry.cases[self.shown].cycles is not None else None
        return View(
            mask=mask,
            ids=array("i", [number for number, _ in found]),
            edits=[edit for _, edit in found],
            cycles=np.array(
                [-1 if e.cycles is None else e.cycles for e in entry.cases], dtype=np.int64
            ),
            case=case,
            profile=profile_features(entry.cases),
            program=program_features(kernel, shown, session.chip, sites, timing),
            tunables=tunable_features(kernel),
        )


def _box(fields: Sequence[Field], rows: int | None = None) -> spaces.Box:
    low = np.array([field.low for field in fields], dtype=np.float32)
    high = np.array([field.high for field in fields], dtype=np.float32)
    if rows is not None:
        low, high = np.tile(low, (rows, 1)), np.tile(high, (rows, 1))
    return spaces.Box(low, high, dtype=np.float32)
