"""A report of profiles, or a comparison of two, as one HTML file: no network, no further files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from m890sim.drawing.page import page
from m890sim.errors import BindError
from m890sim.judge.evaluation import task_cycles
from m890sim.profile.data import as_data
from m890sim.profile.measure import Profile
from m890sim.workloads import TASKS, Task, known_bound, ladder, load_kernel
from m890sim.workloads.run import simulate_checked


def html_report(profiles: Sequence[Profile], task: Task) -> str:
    """The page of one kernel on one or more cases of a task.

    Raises: ValueError where there is no profile.
    """
    if not profiles:
        raise ValueError("a report shows one profile at least")
    data = {"runs": [_run(profile, task) for profile in profiles]}
    return page("profile", f"m890 profile: {profiles[0].kernel.name}", data)


def timeline_data(profile: Profile) -> dict[str, Any]:
    """What the timeline of a page shows of a run."""
    rows = profile.rows
    return {
        "cycles": profile.cycles,
        "engines": [asdict(engine) for engine in profile.engines],
        "path": _path(profile),
        "numbers": [one.line for one in rows.instructions],
        "ops": [one.stmt.op for one in rows.instructions],
        "slices": _slices(profile),
        "last_core": profile.critical_path[-1].core,
    }


def _run(profile: Profile, task: Task) -> dict[str, Any]:
    data = as_data(profile, what_if=True)
    rows = profile.rows
    path = data.pop("critical_path")
    return (
        data
        | timeline_data(profile)
        | {
            "cores": rows.chip.cores,
            "path_lines": path["lines"],
            "path_kinds": path["kinds"],
            "source": profile.source.splitlines(),
            "banks": rows.chip.sram_banks,
            "sram": rows.chip.sram_bytes,
            "reference": _reference(profile, task),
            "bound": known_bound(profile.case, profile.chip),
            "ladder": _ladder(profile, task),
        }
    )


def _slices(profile: Profile) -> list[list[list[int]]]:
    """By core: engine, instruction, start, length and the wait before it, of each row."""
    rows = profile.rows
    columns = (rows.engine, rows.number, rows.start, rows.finish - rows.start, rows.waited)
    table = np.stack(columns, axis=1)
    return [table[rows.core == core].tolist() for core in range(rows.chip.cores)]


def _path(profile: Profile) -> dict[int, list[tuple[int, int, int]]]:
    """By core: engine, start and length of what lies on the critical path."""
    numbers = {name: number for number, name in enumerate(profile.rows.engines)}
    found: dict[int, list[tuple[int, int, int]]] = {}
    now = 0
    for part in profile.critical_path:
        if part.engine and part.kind in ("busy", "port", "hbm", "latency"):
            found.setdefault(part.core, []).append((numbers[part.engine], now, part.cycles))
        now += part.cycles
    return found


def _reference(profile: Profile, task: Task) -> int | None:
    try:
        return task_cycles(task, profile.case, profile.chip)
    except BindError:
        return None  # it does not fit the chip


def _ladder(profile: Profile, task: Task) -> list[dict[str, Any]]:
    """The steps of the task's ladder and this kernel, slowest first; step None is this one."""
    found: list[dict[str, Any]] = [
        {"step": None, "kernel": profile.kernel.name, "cycles": profile.cycles}
    ]
    for entry in ladder(task.name) if task.name in TASKS else ():
        kernel = load_kernel(entry.name, profile.chip)
        try:
            cycles = simulate_checked(kernel, profile.case, profile.chip).cycles
        except BindError:
            continue  # nor need all steps fit it
        found.append({"step": entry.step, "kernel": entry.name, "cycles": cycles})
    return sorted(found, key=lambda one: -int(one["cycles"]))
