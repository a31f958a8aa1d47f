"""The oracle's engines: what becomes of one instruction, waited for cycle by cycle.

Part of `oracle`: sections 2 to 6 of docs/timing.md, written from that page alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from m890sim.chip import ChipSpec
from m890sim.timing.oracle_program import Need, TileSlot, ceil_div


@dataclass
class Dispatched:
    """What became of one dispatched instruction; all times are absolute cycles."""

    core: int
    engine: int  # 0, 1, ... DMA queues, then matrix, vector, SFU
    number: int  # position among the kernel's instructions in source order
    dispatch: int
    need: Need
    start: int = 0
    busy_end: int = 0
    ready: int = 0
    base: int = 0  # b, with the exposed load
    loads: bool = False  # a stationary block
    conflict: int = 0  # c + catching up
    opens: int = 0  # the window in which data flow: from `opens` to before `flown`
    flown: int = 0  # e0
    demand: int = 0  # D, bytes a cycle in the window
    banks: frozenset[int] = frozenset()  # that data flow through
    port_bytes: int = 0  # u
    served: dict[int, int] = field(default_factory=dict)  # cycle -> bytes through ports
    hbm_wait: int = 0
    last_pass: int = 0  # start of the matrix unit's last pass
    moved: dict[int, int] = field(default_factory=dict)  # HBM window -> bytes

    def draws(self, tick: int, port: int) -> int:
        """Bytes that it asks of its banks in a cycle, as later instructions see it."""
        if self.opens <= tick < self.flown:
            return self.demand
        return port if self.flown <= tick < self.busy_end else 0


class Calendar:
    """Bytes that HBM has promised, window by window (section 4)."""

    def __init__(self, chip: ChipSpec) -> None:
        self.window = chip.hbm_window_cycles
        self.chip_most = chip.hbm_bytes_per_cycle * self.window
        self.core_most = chip.hbm_core_bytes_per_cycle * self.window
        self.chip_moved: Counter[int] = Counter()
        self.core_moved: Counter[tuple[int, int]] = Counter()

    def fits(self, core: int, tick: int, size: int) -> bool:
        """Whether the window of this tick has so many bytes left, for the chip and for the core."""
        window = tick // self.window
        return (
            self.chip_moved[window] + size <= self.chip_most
            and self.core_moved[core, window] + size <= self.core_most
        )

    def move(self, record: Dispatched, tick: int) -> int:
        """Reserve a transfer whose first step is tried at `tick`; the time at which it ends."""
        size, steps = record.need.dma_bytes or 0, record.need.stream
        for i in range(steps):
            part = size * (i + 1) // steps - size * i // steps
            while not self.fits(record.core, tick, part):
                tick += 1
                while tick % self.window:
                    tick += 1
            window = tick // self.window
            self.chip_moved[window] += part
            self.core_moved[record.core, window] += part
            record.moved[window] = record.moved.get(window, 0) + part
            tick += 1
        return tick


class Engines:
    """The engines of one core during one phase, and all that they have promised so far."""

    def __init__(self, chip: ChipSpec, calendar: Calendar, core: int, phase_start: int) -> None:
        self.chip = chip
        self.calendar = calendar
        self.core = core
        self.phase_start = phase_start
        self.records: list[Dispatched] = []  # in program order
        self.by_engine: list[list[Dispatched]] = [[] for _ in range(chip.dma_queues + 3)]
        self.transfers: list[Dispatched] = []
        self.held: tuple[Any, ...] | None = None  # the matrix unit's only stationary block
        # Cycles the sequencer waited since it last dispatched to each engine, by cause.
        self.waited: list[Counter[str]] = [Counter() for _ in self.by_engine]
        self.parts: Counter[tuple[int, str]] = Counter()  # (engine, cause) -> cycles

    def queued(self, engine: int, tick: int) -> int:
        """Instructions that have been dispatched to an engine and have not started at `tick`."""
        waiting = 0
        for record in reversed(self.by_engine[engine]):
            if record.start <= tick:
                break  # an engine starts its instructions in order
            waiting += 1
        return waiting

    def idle(self, tick: int) -> bool:
        """Whether nothing runs at `tick` or later, and every result is ready."""
        return all(r.busy_end <= tick and r.ready <= tick for r in self.records)

    def wait(self, cause: str) -> None:
        """The sequencer spends a cycle waiting for this cause."""
        for waited in self.waited:
            waited[cause] += 1

    def issue(self, record: Dispatched) -> None:
        """Live a dispatched instruction's future; all before it in program order is known."""
        need, queue = record.need, self.by_engine[record.engine]
        free = queue[-1].busy_end if queue else self.phase_start
        tick = record.dispatch
        while tick < free:
            tick += 1
        ready_to_start = tick
        cause = self._obstacle(need, tick)
        last_cause = ""
        while cause:
            last_cause, tick = cause, tick + 1
            cause = self._obstacle(need, tick)
        record.start = tick
        # Every obstacle goes away for good, so the one that was seen last lasted longest.
        self._attribute(record, free, ready_to_start, last_cause)

        record.base = need.base
        if record.engine == self.chip.dma_queues:
            self._load_stationary(record)
        end = record.start + record.base
        if need.dma_bytes:
            end = self.calendar.move(record, record.start + self.chip.dma_issue_cycles)
            record.hbm_wait = end - (record.start + record.base)
        record.busy_end = self._through_ports(record, end)
        record.conflict = record.busy_end - end
        record.ready = record.busy_end + need.latency
        if need.dma_bytes is not None:
            for slot in need.writes:
                if slot.writer is not None:
                    record.ready = max(record.ready, slot.writer.ready)

        for slot in need.reads:
            slot.readers.append(record)
        for slot in need.writes:
            # Of two queues that fill a slot side by side, the later to arrive is the last writer.
            if slot.writer is None or record.ready >= slot.writer.ready:
                slot.writer = record
            slot.writes += 1
        if need.dma_bytes is not None:
            self.transfers.append(record)
        self.records.append(record)
        queue.append(record)

    def _obstacle(self, need: Need, tick: int) -> str:
        """What keeps an instruction from its free engine at `tick`; "" where nothing does."""
        for slot in need.reads:
            writer = slot.writer
            if need.accumulated is slot and writer and writer.engine == need.engine:
                continue
            if writer and not self._readable(slot, need.engine, tick):
                return f"operand from {writer.engine}"
        for slot in need.writes:
            if any(tick < reader.busy_end for reader in slot.readers):
                return "slot"
            writer = slot.writer
            if writer is None or writer.engine == need.engine:
                continue
            if max(writer.engine, need.engine) < self.chip.dma_queues:
                continue  # two DMA queues may fill one slot side by side
            if not self._readable(slot, need.engine, tick):
                return "slot"
        if need.dma_bytes is not None:
            most = self.chip.dma_in_flight
            if len(self.transfers) >= most and tick < self.transfers[-most].ready:
                return "in flight"
        return ""

    def _readable(self, slot: TileSlot, engine: int, tick: int) -> bool:
        if slot.writer is None:
            return True
        crossing = self.chip.dependence_cycles if slot.writer.engine != engine else 0
        return bool(tick >= slot.writer.ready + crossing)

    def _load_stationary(self, record: Dispatched) -> None:
        """Let the matrix unit load the first stationary block as early as it can."""
        need = record.need
        if need.passes == 0:
            return
        assert need.block_slot is not None
        if not (need.passes == 1 and self.held == need.block):
            matmuls = [r for r in self.by_engine[record.engine] if r.need.passes]
            previous = matmuls[-1].last_pass if matmuls else self.phase_start
            tick = record.dispatch
            while tick < previous or not self._readable(need.block_slot, record.engine, tick):
                tick += 1
            loaded = tick + self.chip.matrix_load_cycles
            while record.start + record.base - need.base < loaded:
                record.base += 1
            record.loads = True
        exposed = record.base - need.base
        record.last_pass = record.start + exposed + (need.passes - 1) * need.pass_cycles
        self.held = need.block if need.passes == 1 else None

    def _through_ports(self, record: Dispatched, end: int) -> int:
        """When all of an instruction's data are through its ports (section 5)."""
        need, port = record.need, self.chip.sram_port_bytes_per_cycle
        streams, flow = list(need.streams), need.stream
        if record.loads:
            flow = need.passes * need.pass_cycles
            if need.block_stream is not None:
                streams.append(need.block_stream)
        in_bank: Counter[int] = Counter()
        for stream in streams:
            for bank in stream.banks:
                in_bank[bank] += stream.share
        record.banks = frozenset(in_bank)
        record.port_bytes = max(in_bank.values(), default=0)
        clash = max(0, ceil_div(record.port_bytes, port) - flow)
        record.opens = record.start + max(0, record.base - flow)
        record.flown = end + clash
        cycles = min(flow, record.base) + clash
        if cycles:
            record.demand = min(port, ceil_div(record.port_bytes, cycles))

        rivals = [
            other
            for engine, queue in enumerate(self.by_engine)
            for other in queue
            if engine != record.engine and other.banks & record.banks
        ]
        rivals = [other for other in rivals if other.busy_end > record.opens]
        put_off = 0
        tick = record.opens
        while tick < record.flown or put_off > 0:
            taken = sum(other.draws(tick, port) for other in rivals)
            room = max(0, port - taken)
            if tick < record.flown:
                record.served[tick] = min(record.demand, room)
                put_off += record.demand - record.served[tick]
            else:
                record.served[tick] = min(put_off, room)
                put_off -= record.served[tick]
            tick += 1
        return tick

    # ---- attribution (section 6) ----

    def _attribute(self, record: Dispatched, free: int, ready_to_start: int, cause: str) -> None:
        engine = record.engine
        waited = self.waited[engine]
        causes = ["fence"] * waited["fence"] + ["queue full"] * waited["queue full"]
        for i, _ in enumerate(range(free, record.dispatch)):
            self._count(engine, causes[i] if i < len(causes) else "dispatch")
        for _ in range(ready_to_start, record.start):
            self._count(engine, cause)
        waited.clear()

    def _count(self, engine: int, cause: str, cycles: int = 1) -> None:
        self.parts[engine, cause] += cycles

    def finish(self, phase_end: int) -> None:
        """Close the books of the phase."""
        for engine, queue in enumerate(self.by_engine):
            for record in queue:
                self._count(engine, "busy", record.base)
                self._count(engine, "port", record.conflict)
                self._count(engine, "hbm", record.hbm_wait)
            free = queue[-1].busy_end if queue else self.phase_start
            self._count(engine, "nothing left", phase_end - free)
