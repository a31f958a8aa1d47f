"""Lower bounds on cycles: what no kernel can beat on a case and a chip.

Derived in docs/lower_bounds.md, under the contract of docs/timing.md, from what a case demands of
any kernel (`Case.demand`). It counts no start-up, port or dependence that some kernel could hide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from m890sim.chip import ChipSpec, chip_of
from m890sim.errors import TaskError
from m890sim.isa import OPS
from m890sim.kernel.ir import DTYPES
from m890sim.messages import described
from m890sim.workloads.case import Case, Demand


@dataclass(frozen=True, slots=True)
class LowerBound:
    """The bound and its parts, all in cycles.

    cycles = max(memory, launch + load + max(matrix, elements) + store); where nothing is loaded,
    work begins before a transfer is issued: without load, and `dma_issue_cycles` earlier.
    """

    cycles: int  # the bound, >= 1
    launch: int  # until the first byte can move: launch, core start, item, dispatch, DMA issue
    load: int  # the least load, its latency, and the hop to the engine that uses it
    matrix: int  # all products, by matrix unit, vector unit and SFU together, cores evenly loaded
    elements: int  # what must pass through the vector unit or the SFU, with a start-up
    store: int  # the hop to the queue, the least store and its latency
    memory: int  # end to end, HBM the limit: the bytes at the best rate, what is before and after

    @property
    def floors(self) -> dict[str, int]:
        """The parts by name, `cycles` included."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def limit(self) -> str:
        """What the bound rests on: "memory", "matrix" or "elements"."""
        if self.cycles == self.memory:
            return "memory"
        return "matrix" if self.matrix >= self.elements else "elements"


def lower_bound(
    case: Case, chip: ChipSpec, allowed_dtypes: tuple[str, ...] = ("bf16", "f16", "f32")
) -> LowerBound:
    """The lower bound of a case on a chip, with its parts.

    Source: docs/lower_bounds.md. More bandwidth, rate or cores never raises it.
    Raises: TypeError, ValueError, ChipError for what is no case, chip or dtype; TaskError for
    a case without a demand.
    """
    if not isinstance(case, Case):
        raise TypeError(f"case must be a Case, not {described(case)}")
    case.__post_init__()
    if isinstance(allowed_dtypes, str) or not isinstance(allowed_dtypes, Sequence):
        raise TypeError(
            f"allowed_dtypes must be a tuple of dtypes, not {described(allowed_dtypes)}"
        )
    for name in allowed_dtypes:
        if not isinstance(name, str) or name not in DTYPES:
            raise ValueError(
                f"allowed_dtypes must be among {', '.join(DTYPES)}, not {described(name)}"
            )
    chip, demand = case.part_of(chip_of(chip)), case.demand
    if demand is None:
        raise TaskError(
            f"case {described(case.name)} states no demand, so it has no lower bound; give its "
            "task one"
        )
    launch = (
        chip.launch_cycles
        + chip.core_start_cycles
        + chip.sequencer_loop_cycles
        + chip.sequencer_dispatch_cycles
        + chip.dma_issue_cycles
    )
    flight = chip.dma_latency_cycles + chip.dma_completion_cycles
    arrival = flight + chip.dependence_cycles
    load = chip.dma_run_cycles + arrival
    last_store = chip.dma_issue_cycles + chip.dma_run_cycles + flight
    store = chip.dependence_cycles + last_store
    # What is computed was last written by the vector unit or the SFU: DMA reads SRAM, the matrix
    # unit writes ACC.
    last_step = min(
        chip.vector_startup_cycles + 1 + chip.vector_latency_cycles,
        chip.sfu_startup_cycles + 1 + chip.sfu_latency_cycles,
    )
    matrix = -(-demand.products // (chip.cores * _products_per_cycle(chip, allowed_dtypes)))
    elements = _elements_cycles(demand, chip)
    loaded, stored = demand.loaded_bytes, demand.stored_bytes
    ends = [_earliest_end(launch, loaded + stored, chip) + flight]
    if loaded:
        # What is only copied needs neither an engine nor, on one queue, the hop between two.
        ends.append(_earliest_end(launch, loaded, chip) + flight + last_store)
    if loaded > demand.copied_bytes:
        computed = _earliest_end(launch, loaded - demand.copied_bytes, chip)
        ends.append(computed + arrival + last_step + store)
    memory = max(ends)
    cycles = memory
    if matrix or elements:
        # Without a load nothing waits for a transfer to be issued.
        first = launch + load if loaded else launch - chip.dma_issue_cycles
        cycles = max(memory, first + max(matrix, elements) + store)
    return LowerBound(cycles, launch, load, matrix, elements, store, memory)


def lower_bound_cycles(case: Case, chip: ChipSpec) -> int:
    """Fewest cycles in which any kernel can compute the case on the chip; see `lower_bound`."""
    return lower_bound(case, chip).cycles


def known_bound(
    case: Case, chip: ChipSpec, allowed_dtypes: tuple[str, ...] = ("bf16", "f16", "f32")
) -> int | None:
    """Cycles of `lower_bound`; None for a case that states no demand. Raises: as it does."""
    if isinstance(case, Case) and case.demand is None:
        return None
    return lower_bound(case, chip, allowed_dtypes).cycles


def _products_per_cycle(chip: ChipSpec, allowed_dtypes: tuple[str, ...]) -> int:
    """Most products a core forms in a cycle.

    The matrix unit forms a stationary block's for each streamed row, the others one an element.
    """
    one_byte = any(DTYPES[name] == 1 for name in allowed_dtypes)
    rows = chip.matrix_f8_rows_per_cycle if one_byte else 1
    lanes = max(chip.vector_f32_lanes, chip.vector_bf16_lanes)
    return rows * chip.matrix_rows * chip.matrix_columns + lanes + chip.sfu_elements_per_cycle


def _elements_cycles(demand: Demand, chip: ChipSpec) -> int:
    """Least cycles of the vector unit and the SFU, side by side, start-up included.

    The optimum of a linear program in how many exponentials and other elements the SFU takes,
    written as the larger of its two dual solutions; docs/lower_bounds.md, "Elements".
    """
    exponentials, others, rate = demand.exponentials, demand.elements, chip.sfu_elements_per_cycle
    if exponentials + others == 0:
        return 0
    widest = max(chip.vector_f32_lanes, chip.vector_bf16_lanes)
    # ACC is fp32, so the vector unit reads it at its fp32 rate; what it sums up itself from narrow
    # operands never was in ACC, but took it an element a product.
    fp32 = Fraction(1, chip.vector_f32_lanes)
    # A form of exp2 multiplies and adds (`scale=`, `bias=`): the last product takes no pass.
    argument = min(fp32, Fraction(max(0, demand.exponent_products - 1), widest))
    exponential = argument + Fraction(OPS["exp2"].passes["vector"], widest)
    other = min(fp32, Fraction(demand.narrow_elements, widest))
    cycles = max(
        _shared(price, [(exponentials, exponential), (others, other)], rate)
        for price in (exponential, other)
    )
    startup = min(chip.vector_startup_cycles, chip.sfu_startup_cycles)
    return startup + math.ceil(cycles / chip.cores)


def _shared(price: Fraction, work: list[tuple[int, Fraction]], rate: int) -> Fraction:
    """A dual solution: the SFU's `rate` elements a cycle at a price in cycles of the vector unit.

    work: (elements, cycles of the vector unit for one); an element costs the cheaper of the two.
    """
    return sum((n * min(price, own) for n, own in work), Fraction(0)) / (1 + price * rate)


def _earliest_end(start: int, moved: int, chip: ChipSpec) -> int:
    """First cycle by which `moved` bytes can have been moved, none of them before cycle `start`.

    The calendar of HBM in its best case: in every window at most its bytes for the chip and for the
    cores, and at no time more than all queues move together.
    """
    window = chip.hbm_window_cycles
    queues = chip.cores * chip.dma_queues * chip.dma_bytes_per_cycle
    most = min(chip.hbm_bytes_per_cycle, chip.cores * chip.hbm_core_bytes_per_cycle) * window
    left_in_first = window - start % window
    first = min(most, queues * left_in_first)
    if moved <= first:
        return start + -(-moved // queues)
    full = min(most, queues * window)
    windows = -(-(moved - first) // full) - 1
    rest = moved - first - windows * full
    return start + left_in_first + windows * window + -(-rest // queues)
