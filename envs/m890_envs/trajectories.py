"""Evaluations of a run as paths of macro actions: what of a record an environment can repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m890_envs.env import KernelEditEnv
from m890sim.agents.plan import Plan
from m890sim.agents.reading import RunError
from m890sim.errors import M890Error
from m890sim.evidence.record import Record
from m890sim.kernel import digest
from m890sim.kernel.ir import Kernel
from m890sim.schedule import Edit, EditError, rewrite
from m890sim.schedule.macros import MACROS, MacroActions, macros_of
from m890sim.session import Memory, context_of, edit_from_data


@dataclass(frozen=True, slots=True)
class RunPath:
    """A start kernel, and the macro ids from there; evaluations: the log's number after each."""

    start: Kernel
    origin: int  # evaluation that the start is of
    actions: tuple[int, ...]
    evaluations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The paths of a run, and how many of its evaluations they hold.

    Each evaluation after the first that is one macro away from its parent is one step of one path;
    unexpressed: those that no single macro gives; texts: written, not edited; profiles: no kernels;
    repeated: kernels equal to their parent.
    """

    paths: tuple[RunPath, ...]
    expressed: int
    unexpressed: int
    texts: int
    profiles: int
    repeated: int

    def counts(self) -> dict[str, int]:
        """The counts by name."""
        names = ("expressed", "unexpressed", "texts", "profiles", "repeated")
        return {name: getattr(self, name) for name in names}


def environment_for(plan: Plan, action_rows: int, memory: Memory | None = None) -> KernelEditEnv:
    """The environment that repeats a run: macro actions, uniform observation, no end of its own."""
    return KernelEditEnv(
        plan.task,
        plan.cases,
        plan.chip,
        start=plan.start,
        horizon=None,
        verify="gains",
        actions="macro",
        observation="uniform",
        action_rows=action_rows,
        memory=memory,
    )


def paths_of(record: Record, action_rows: int, most: int) -> RunPaths:
    """The paths of a run's record.

    most: statements that macros make a kernel have. Every kernel is made again from its edits.
    Raises: RunError where the log says another digest than its edits give.
    """
    plan, lines = record.plan(), record.lines
    actions = MacroActions(context_of(plan.task, plan.chip), most)
    kernels: dict[int, Kernel] = {}
    children: dict[int, list[tuple[int, int]]] = {}  # evaluation -> (evaluation, macro id)
    counts = {"unexpressed": 0, "texts": 0, "profiles": 0, "repeated": 0}
    for index, line in enumerate(lines):
        if "profile" in line:
            counts["profiles"] += 1
        if "source" in line:
            counts["texts"] += index > 0 and "profile" not in line
            continue
        parent = line["parent"]
        try:
            edits = [edit_from_data(data) for data in line["edits"]]
            before = plan.start if parent is None else kernels[parent]
            kernels[index] = kernel = _edited(before, edits, actions)
        except (ValueError, TypeError, KeyError, IndexError, M890Error) as error:
            raise RunError(
                f"{record.path} is damaged: evaluation {index} is no edited kernel: {error!s:.200}"
            ) from error
        if digest(kernel) != line["digest"]:
            raise RunError(
                f"{record.path}: evaluation {index} has the digest {line['digest']!r:.30}, its "
                f"edits give {digest(kernel)[:12]}; the log was changed, or is of another version"
            )
        if index == 0 or "profile" in line:
            continue
        origin = 0 if parent is None else parent
        if digest(before) == line["digest"]:
            counts["repeated"] += 1
            continue
        found = macro_between(before, edits, str(line["digest"]), actions, action_rows)
        if found is None or (parent is None and digest(before) != lines[0]["digest"]):
            counts["unexpressed"] += 1
        else:
            children.setdefault(origin, []).append((index, found))
    paths = tuple(_chains(kernels, children, _lineage(lines)))
    expressed = sum(len(path.actions) for path in paths)
    return RunPaths(paths, expressed, **counts)


def macro_between(
    kernel: Kernel, edits: Sequence[Edit], wanted: str, actions: MacroActions, action_rows: int
) -> int | None:
    """The macro that leads from a kernel to the digest its edits give; None where there is none."""
    kinds = {(edit.name, edit.argument) for edit in edits}
    if len(kinds) != 1:
        return None
    for number, macro in enumerate(MACROS[: macros_of(action_rows)], 1):
        if (macro.name, macro.argument) in kinds:
            try:
                changed, _ = actions.perform(kernel, number)
            except EditError:
                continue
            if digest(changed) == wanted:
                return number
    return None


def _edited(kernel: Kernel, edits: Sequence[Edit], actions: MacroActions) -> Kernel:
    for edit in edits:
        kernel = rewrite(kernel, edit, actions.context)
    return kernel


def _lineage(lines: Sequence[Mapping[str, Any]]) -> set[int]:
    """The evaluations on the way to the best accepted kernel."""
    right = [line for line in lines if line["accepted"] and line["correct"] is not False]
    found: set[int] = set()
    at = max(right, key=lambda line: line["speedup"])["index"] if right else None
    while at is not None and at not in found:
        found.add(at)
        at = lines[at]["parent"]
    return found


def _chains(
    kernels: Mapping[int, Kernel],
    children: Mapping[int, list[tuple[int, int]]],
    best: set[int],
) -> Iterator[RunPath]:
    """Every step once: a path follows the best kernel's ancestors, else the first child."""
    waiting = {origin: list(found) for origin, found in children.items()}
    for origin in sorted(waiting):
        while waiting[origin]:
            at, actions, evaluations = origin, [], []
            while waiting.get(at):
                own = waiting[at]
                chosen = next((pair for pair in own if pair[0] in best), own[0])
                own.remove(chosen)
                at = chosen[0]
                evaluations.append(chosen[0])
                actions.append(chosen[1])
            yield RunPath(kernels[origin], origin, tuple(actions), tuple(evaluations))
