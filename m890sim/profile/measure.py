"""`profile_kernel`: where the cycles of one run go, engine by engine and line by line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from m890sim.chip import ChipSpec, chip_of
from m890sim.kernel import ir, print_kernel
from m890sim.language import check_built, parse
from m890sim.messages import described
from m890sim.profile.lines import LineProfile, line_profiles
from m890sim.profile.memory import PhaseMemory, memory_maps
from m890sim.profile.path import PathPart, critical_path
from m890sim.profile.rows import Rows, instructions_of
from m890sim.profile.what_if import WhatIf, what_ifs
from m890sim.workloads.case import Case


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """One engine: cause -> cycles, summed over the cores; they add up to the cycles times cores.

    busy: share of its time at work (0 to 1), waits for port and HBM not among it. cores: that
    share by core.
    """

    name: str
    causes: dict[str, int]
    busy: float
    cores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """What an engine, or HBM, did and what it could have done: amounts over the whole run."""

    name: str  # "matrix", "vector", "sfu", "hbm"
    unit: str
    achieved: int
    peak: int  # cycles times the rate of all cores

    @property
    def share(self) -> float:
        """Of the peak, 0 to 1."""
        return self.achieved / self.peak if self.peak else 0.0


@dataclass(frozen=True, slots=True)
class Roofline:
    """Products a byte of HBM: of the kernel, and where the chip turns from memory to matrix unit.

    attainable: products a cycle at the kernel's intensity; achieved: those of the run.
    """

    intensity: float  # MACs a byte
    ridge: float
    achieved: float
    attainable: float
    peak: float


@dataclass(frozen=True, eq=False)
class Profile:
    """One run of a kernel on a case, explained. Made by `profile_kernel`.

    cycles: of the run. source: the text whose lines `lines` name. cores: when each core's last
    result was ready, cycles since the launch. least_bytes: what any kernel must move, None where
    the case does not say.
    """

    kernel: ir.Kernel
    case: Case
    chip: ChipSpec
    source: str
    rows: Rows

    @property
    def cycles(self) -> int:
        """Of the run."""
        return self.rows.timing.cycles

    @cached_property
    def engines(self) -> tuple[EngineProfile, ...]:
        """In the order of docs/timing.md: DMA queues, matrix unit, vector unit, SFU."""
        attribution = self.rows.timing.attribution
        whole = max(1, self.cycles)
        return tuple(
            EngineProfile(
                name,
                attribution.engine(name),
                float(attribution.cycles[:, number, 0].mean()) / whole,
                tuple(float(n) / whole for n in attribution.cycles[:, number, 0]),
            )
            for number, name in enumerate(attribution.engines)
        )

    @cached_property
    def cores(self) -> tuple[int, ...]:
        """When each core's last result was ready; 0 for a core without work."""
        ends = np.zeros(self.rows.chip.cores, dtype=np.int64)
        np.maximum.at(ends, self.rows.core, self.rows.ready)
        return tuple(ends.tolist())

    @cached_property
    def lines(self) -> tuple[LineProfile, ...]:
        """Lines that ran, in the order of the text."""
        return tuple(line_profiles(self.rows, self.critical_path))

    @cached_property
    def critical_path(self) -> list[PathPart]:
        """From the launch to the end; the parts' cycles add up to those of the run."""
        return critical_path(self.rows)

    @cached_property
    def memory(self) -> list[PhaseMemory]:
        """Where tiles lie, phase by phase."""
        return memory_maps(self.rows)

    @cached_property
    def what_if(self) -> list[WhatIf]:
        """What each thing would give if it were free or doubled, the largest gain first."""
        return what_ifs(self.kernel, self.case, self.chip, self.cycles)

    @property
    def hbm_bytes(self) -> int:
        """Bytes moved to and from HBM."""
        return self.rows.timing.hbm_bytes

    @property
    def least_bytes(self) -> int | None:
        """Bytes that any kernel must move: each input that counts and each output once."""
        demand = self.case.demand
        return None if demand is None else demand.loaded_bytes + demand.stored_bytes

    @cached_property
    def rates(self) -> tuple[Rate, ...]:
        """Achieved against peak. Vector unit and SFU: cycles in which elements flowed."""
        chip, rows = self.rows.chip, self.rows
        core_cycles = self.cycles * chip.cores
        amount, stream = rows.why["amount"], rows.why["stream"]
        matrix, vector, sfu = (rows.engine == rows.queues + n for n in range(3))
        macs = chip.matrix_rows * chip.matrix_columns
        return (
            Rate("matrix", "MACs", int(amount[matrix].sum()), core_cycles * macs),
            Rate("vector", "cycles", int(stream[vector].sum()), core_cycles),
            Rate("sfu", "cycles", int(stream[sfu].sum()), core_cycles),
            Rate("hbm", "bytes", self.hbm_bytes, self.cycles * chip.hbm_bytes_per_cycle),
        )

    @cached_property
    def roofline(self) -> Roofline:
        """Where the run stands between HBM and the matrix unit."""
        chip = self.rows.chip
        matrix = self.rates[0]
        peak = float(chip.cores * chip.matrix_rows * chip.matrix_columns)
        intensity = matrix.achieved / self.hbm_bytes if self.hbm_bytes else 0.0
        return Roofline(
            intensity=intensity,
            ridge=peak / chip.hbm_bytes_per_cycle,
            achieved=matrix.achieved / max(1, self.cycles),
            attainable=min(peak, intensity * chip.hbm_bytes_per_cycle),
            peak=peak,
        )

    def to_json(self, what_if: bool = True) -> dict[str, Any]:
        """All of it as plain data; docs/profile.md names every field."""
        from m890sim.profile.data import as_data

        return as_data(self, what_if)


def profile_kernel(
    kernel: ir.Kernel, case: Case, chip: ChipSpec | str = "m890", *, source: str | None = None
) -> Profile:
    """Run a kernel on a case with every instruction recorded, and explain where the cycles go.

    source: the text that the kernel was parsed from; where it is left out, lines are those of
    `print_kernel`. What-ifs are measured when they are asked for. Source: docs/timing.md.
    Raises: BindError where the kernel does not fit chip or case, LimitError, LanguageError for a
    kernel that the language refuses; TypeError for what is no kernel, case, chip or text.
    """
    if type(kernel) is not ir.Kernel:
        raise TypeError(
            f"kernel must be a Kernel, as load_kernel gives it, not {described(kernel)}"
        )
    if not isinstance(case, Case):
        raise TypeError(
            f"case must be a Case, as get_task(name).cases holds, not {described(case)}"
        )
    if source is not None and not isinstance(source, str):
        raise TypeError(f"source must be a text or None, not {described(source)}")
    check_built(kernel)
    case.__post_init__()
    found = chip_of(chip)
    if source is None:  # an edited kernel's places in the text are those of other texts
        source = print_kernel(kernel)
        kernel = parse(source, kernel.filename)
    else:
        _check_places(kernel, source)
    rows = Rows(kernel, case.part_of(found), case.symbols, case.tables)
    return Profile(kernel, case, found, source, rows)


def _check_places(kernel: ir.Kernel, source: str) -> None:
    most = len(source.splitlines())
    lines = [one.line for one in instructions_of(kernel)]
    if any(not 1 <= line <= most for line in lines) or lines != sorted(lines):
        raise ValueError(
            "source is not the text that the kernel was parsed from: its lines do not fit; leave "
            "source out"
        )
