"""Running work items of a compiled kernel, phase after phase, in row-major order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from m890sim.execute.compile import Phase, Program


def run_items(
    program: Program,
    todo: Sequence[Sequence[int]],
    sources: dict[int, set[int]] | None = None,
    after: Callable[[Phase], None] | None = None,
) -> None:
    """Run the given items of each phase.

    sources: filled with what each work item read from HBM scratch, as the numbers of the items that
    wrote it. Numbers count over all phases, from 1. after: called at the end of each phase.
    Raises: ExecutionError, LimitError.
    """
    before = 0
    for phase, items in zip(program.phases, todo, strict=True):
        _begin(program, phase, before)
        program.work.add(len(items) * phase.trips, len(items) * phase.instructions)
        env, turn, steps, slots = program.env, program.turn, phase.steps, phase.slots
        for item in items:
            turn.item = before + item + 1
            if sources is not None:
                turn.sources = sources.setdefault(turn.item, set())
            for slot, place in zip(slots, phase.coordinates(item), strict=True):
                env[slot] = place
            for step in steps:
                step(env)
        before += phase.items
        if after is not None:
            after(phase)


def _begin(program: Program, phase: Phase, before: int) -> None:
    program.turn.before = before

    def describe(number: int) -> str:
        places = phase.coordinates(number - before - 1)
        return ", ".join(f"{name}={place}" for name, place in zip(phase.vars, places, strict=True))

    program.turn.describe = describe
    for tensor in program.tensors.values():
        tensor.readers = None
        if tensor in phase.shared and tensor.owner is not None:
            tensor.readers = np.zeros_like(tensor.owner)
