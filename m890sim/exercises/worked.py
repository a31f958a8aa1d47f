"""A run of vector_add as it is added up by hand: the numbers of docs/exercises/by_hand.md."""

from __future__ import annotations

from dataclasses import dataclass

from m890sim.chip import M890_MINI, ChipSpec
from m890sim.exercises.exercise import kernel_of
from m890sim.workloads.levels.vector_add import VectorAddCase

ROWS, COLUMNS = 4, 64
ELEMENT_BYTES = 2  # bf16


@dataclass(frozen=True, slots=True)
class WorkedStep:
    """An instruction: when it is dispatched, starts, ends, and has its result; and why."""

    text: str
    dispatch: int
    start: int
    finish: int
    ready: int
    start_why: str
    finish_why: str
    ready_why: str


def worked_case() -> VectorAddCase:
    """A block of 4 x 64."""
    return VectorAddCase("worked", "vector_add", ROWS, COLUMNS, "by hand")


def worked_steps(chip: ChipSpec = M890_MINI) -> list[WorkedStep]:
    """The four instructions by the rules of docs/timing.md: sums of the chip's numbers alone.

    Nothing is simulated here; a test compares each number with the engine's trace.
    """
    c = chip
    kernel = kernel_of("worked.py")
    assert [p.name for p in kernel.params] == ["x", "y", "z"]
    moved = ROWS * COLUMNS * ELEMENT_BYTES
    flow = -(-moved // c.dma_bytes_per_cycle)
    transfer = c.dma_issue_cycles + flow
    arrival = c.dma_latency_cycles + c.dma_completion_cycles
    elements = ROWS * COLUMNS
    stream = -(-elements // c.vector_bf16_lanes)
    bytes_why = f"{c.dma_issue_cycles} to issue, {moved} B / {c.dma_bytes_per_cycle} = {flow}"
    arrival_why = f"latency {c.dma_latency_cycles}, completion {c.dma_completion_cycles}"

    begin = c.launch_cycles + c.core_start_cycles
    at = begin + c.sequencer_loop_cycles  # the work item
    dispatches = [at + c.sequencer_dispatch_cycles * n for n in range(1, 5)]
    steps: list[WorkedStep] = []
    for text, dispatch in zip(("load(a, x)", "load(b, y, queue=1)"), dispatches, strict=False):
        end = dispatch + transfer
        steps.append(
            WorkedStep(
                text, dispatch, dispatch, end, end + arrival, "at once", bytes_why, arrival_why
            )
        )
    start = steps[1].ready + c.dependence_cycles
    end = start + c.vector_startup_cycles + stream
    steps.append(
        WorkedStep(
            "add(a, a, b)",
            dispatches[2],
            start,
            end,
            end + c.vector_latency_cycles,
            f"b is there at {steps[1].ready}, dependence {c.dependence_cycles}",
            f"start-up {c.vector_startup_cycles}, {elements} / {c.vector_bf16_lanes} = {stream}",
            "at once",
        )
    )
    start = steps[2].ready + c.dependence_cycles
    end = start + transfer
    steps.append(
        WorkedStep(
            "store(z, a)",
            dispatches[3],
            start,
            end,
            end + arrival,
            f"the sum is there at {steps[2].ready}, dependence {c.dependence_cycles}",
            bytes_why,
            arrival_why,
        )
    )
    return steps
