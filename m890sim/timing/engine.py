"""The fast implementation of docs/timing.md: one compiled function over integers and registers.

The only numba module of timing. It knows no opcode of the instruction set: every cost is a register
or a constant that `bind` resolved. Cores are coroutines: each runs until it meets a shared resource
(a transfer's reservation in the HBM calendar, a dynamic work item); the core with the smallest
(time, number) goes on. Its slow independent twin is oracle.py.

A user's first run compiles this file, and the time for that grows with every statement: hence the
plain style, one phase a call, state in arrays that simulate.py allocates, and only six scalar
operations (bind/lower.py).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from m890sim.bind.encoding import (
    ADDS,
    BASE,
    BRANCH,
    CODE_WIDTH,
    DECLARE,
    ENGINE,
    FENCE,
    FIRST_BYTE,
    FIRST_OPERAND,
    FLOOR,
    FLOW,
    GUARD,
    IN_SRAM,
    ISSUE,
    JUMP,
    KEY,
    LAST_BYTE,
    LATENCY,
    LEAD,
    LESS,
    LINEAR,
    LOOP,
    LOWER,
    MAX_OPERANDS,
    MOVED,
    NEXT,
    OPERAND_WIDTH,
    OPERANDS,
    PASSES,
    READS,
    RESET,
    SEQUENCER,
    SHARE,
    SKIP,
    STAGE,
    STATIONARY,
    STREAM,
    VALUE,
    WRITES,
)

Array = np.ndarray[Any, np.dtype[np.int64]]

# Positions in the `chip` array.
(
    CORES,
    QUEUES,
    DISPATCH_CYCLES,
    ENTRIES,
    FETCH_CYCLES,
    DEPENDENCE,
    PORT_RATE,
    ISSUE_CYCLES,
    IN_FLIGHT,
    WINDOW,
    WINDOW_BYTES,
    WINDOW_CORE_BYTES,
    LIMIT,
    WORK_LIMIT,
    CALENDAR,
    ORDER,
    ITEMS,
    LOAD_CYCLES,
    RING,
    BANK_BYTES,
) = range(20)
# Positions in the `out` array, which runs on from phase to phase.
STATUS, INSTRUCTIONS, TRACED, BYTES, WORK, NEXT_ITEM = range(6)
OUT_LENGTH = 6
OK, TOO_MANY, TOO_MUCH_WORK, CALENDAR_FULL, OVERFLOW = range(5)
# Causes, the last axis of the attribution; OPERAND + e: an operand from engine e.
BUSY, PORT, HBM, LAUNCH, DISPATCHING, FENCED, QUEUE_FULL, SLOT, FLIGHT, IDLE, OPERAND = range(11)
# A core's sequencer: a row of `sequencers`; HELD: the stationary block; the ready times of
# transfers follow.
PC, STATE, TURN, LATEST, FENCE_TOTAL, QUEUE_TOTAL, LAST_PASS, FLIGHTS, HELD = range(9)
HELD_WIDTH = 9
TOUCHED = HELD + HELD_WIDTH  # of the instruction at hand: slots, banks and shares of mentions
BANKS = TOUCHED + MAX_OPERANDS
SHARES = BANKS + MAX_OPERANDS
FLIGHT_TIMES = SHARES + MAX_OPERANDS
READY, IN_TRANSFER, WAITS_FOR_ITEM = range(3)
# A slot on a core's scoreboard; an engine of a core; an entry in the ring of an engine's last
# instructions.
# FROM, LAST_READER: rows of the trace, of the last writer and of the reader that ends last.
WRITTEN, WRITER, READ, VERSION, FROM, LAST_READER = range(6)
SLOT_WIDTH = 6
FREE, ISSUED, FENCE_SEEN, QUEUE_SEEN = range(4)
# WINDOW_START to FLOWN data flow at LOAD bytes a cycle, then to END at the port's whole rate.
START, END, MASK, LOAD, WINDOW_START, FLOWN = range(6)
RING_WIDTH = 6
# A row of the trace behind its first seven columns. SOURCE: the row that the CAUSE of its wait
# stands for; FENCE_SO_FAR, QUEUE_SO_FAR: cycles that the sequencer has waited for either.
CAUSE, SOURCE, BY_FENCE, BY_QUEUE, BY_DISPATCH = range(7, 12)
OCCUPIED, BY_HBM, BY_PORT, AMOUNT, FLOWING, FENCE_SO_FAR, QUEUE_SO_FAR = range(12, 19)
TRACE_WIDTH, WIDE_TRACE = 7, 19
FORGOTTEN = -(2**62)
FAR = 2**62
BIG = 2**31

_SIGNATURE = "void(" + "int64[::1]," * 4 + "int64[:,::1]," * 2 + "int64[::1],"
_SIGNATURE += (
    "int64[:,::1]," * 5 + "int64[::1], int64[:,::1], int64[::1], int64[:,::1], int64[::1])"
)


def _words_of(typing_context: Any, array: Any, row: Any) -> Any:
    """Row `row` of a C-contiguous int64 array as a bare pointer.

    Indexing it costs one load: no test for negative indices, no reference count. That halves the
    engine's time.
    """
    pointer: Any = types.CPointer
    signature = pointer(types.int64)(array, row)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        stride = builder.extract_value(view.strides, 0)
        address = builder.ptrtoint(view.data, stride.type)
        address = builder.add(address, builder.mul(args[1], stride))
        return builder.inttoptr(address, context.get_value_type(signature.return_type))

    return signature, generate


_words: Any = intrinsic(_words_of)


# No wrapper for C callers, no reference counts: they take time to compile.
_OPTIONS: Any = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "boundscheck": False,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}


def _reserve_all(
    whole: Any, own: Any, chip: Any, dispatched: int, now: int, stream: int, moved: int
) -> tuple[int, int]:
    """Reserve a whole transfer, window after window (docs/timing.md, section 4).

    whole, own: the calendars of the chip and of the core. It moves `moved` bytes in `stream` cycles
    from `now` on where nothing else does. Returns when its last byte has moved, and the number of
    windows; -1 of them where the calendar is full.
    """
    window = chip[WINDOW]
    furthest = dispatched // window + chip[CALENDAR]
    done = 0
    bytes_done = 0
    w = now // window
    first = w
    border = w * window
    while done < stream:
        border += window
        if w >= furthest:
            return now, -1
        entry = (w & (chip[CALENDAR] - 1)) * 2
        if whole[entry] != w:
            whole[entry] = w
            whole[entry + 1] = 0
        if own[entry] != w:
            own[entry] = w
            own[entry + 1] = 0
        room = chip[WINDOW_BYTES] - whole[entry + 1]
        room = min(room, chip[WINDOW_CORE_BYTES] - own[entry + 1])
        steps = min(stream - done, border - now)
        now += steps
        amount = moved * (done + steps) // stream - bytes_done
        if amount > room:
            # The most steps whose bytes are left:
            # moved * (done + n) // stream <= bytes_done + room.
            now -= steps
            steps = ((bytes_done + room + 1) * stream - 1) // moved - done
            amount = moved * (done + steps) // stream - bytes_done
            now += steps
            if done + steps < stream:
                now = border
        done += steps
        bytes_done += amount
        whole[entry + 1] += amount
        own[entry + 1] += amount
        w += 1
    return now, w - first


_reserve: Any = numba.njit(**_OPTIONS)(_reserve_all)


@numba.njit(_SIGNATURE, **_OPTIONS)
def run_phase(
    code_array: Array,
    instructions_array: Array,
    chip_array: Array,
    tables_array: Array,
    spans: Array,
    registers: Array,
    places_array: Array,
    counts: Array,
    board: Array,
    units: Array,
    rings: Array,
    sequencers: Array,
    clock_array: Array,
    calendar: Array,
    attribution_array: Array,
    trace: Array,
    out_array: Array,
) -> None:
    """Time one phase, from the state that simulate.py sets up.

    Sections are those of docs/timing.md.
    registers, counts, board, units, rings, sequencers: one row a core. clock: the time of each
    core's next event, FAR after its last. code, instructions: see bind/encoding.py. calendar: row 0
    the chip, row 1 + c core c; pairs (window, bytes used), a ring. attribution: (cores, engines,
    OPERAND + engines), flat. trace: rows as in Timing.trace, TRACE_WIDTH or WIDE_TRACE columns.
    out: status and counts.
    """
    code = _words(code_array, 0)
    instructions = _words(instructions_array, 0)
    chip = _words(chip_array, 0)
    tables = _words(tables_array, 0)
    places = _words(places_array, 0)
    attribution = _words(attribution_array, 0)
    out = _words(out_array, 0)
    clock = _words(clock_array, 0)
    whole = _words(calendar, 0)
    cores = chip[CORES]
    queues = chip[QUEUES]
    engines = queues + 3
    dispatch = chip[DISPATCH_CYCLES]
    entries = chip[ENTRIES]
    dependence = chip[DEPENDENCE]
    port_rate = chip[PORT_RATE]
    bank_bytes = chip[BANK_BYTES]
    issue = chip[ISSUE_CYCLES]
    in_flight = chip[IN_FLIGHT]
    order = chip[ORDER]
    items = chip[ITEMS]
    length = chip[RING]
    last = length - 1
    n_instructions = out[INSTRUCTIONS]
    work = out[WORK]

    while True:
        # Section 1: the core with the smallest (time, number) goes on.
        c = -1
        t = FAR
        for i in range(cores):
            if clock[i] < t:
                t = clock[i]
                c = i
        if c < 0:
            break
        seq = _words(sequencers, c)
        reg = _words(registers, c)
        slots = _words(board, c)
        unit = _words(units, c)
        ring = _words(rings, c)
        count = _words(counts, c)
        own = _words(calendar, 1 + c)
        resumed = seq[STATE]
        pc = seq[PC]
        dirty = False
        if n_instructions > chip[LIMIT]:
            out[STATUS] = TOO_MANY
            break
        if work > chip[WORK_LIMIT]:
            out[STATUS] = TOO_MUCH_WORK
            break
        while True:
            op = code[pc]
            target = code[pc + 1]
            at_row = pc
            pc += CODE_WIDTH
            if op <= VALUE:
                third = code[at_row + 3]
                if op == VALUE:
                    value = 0
                    index = reg[third]
                    table = code[at_row + 2]
                    if index >= 0:
                        if index < spans[table, 1]:
                            value = tables[spans[table, 0] + index]
                else:
                    left = reg[code[at_row + 2]]
                    right = reg[third]
                    if op == LINEAR:
                        value = (
                            code[at_row + 4] * left + code[at_row + 5] * right + code[at_row + 6]
                        )
                    elif op == LOWER:
                        value = min(left, right)
                    elif op == LESS:
                        value = 1 if left < right else 0
                    elif op == FLOOR:
                        value = left // right if right else 0
                    else:  # TIMES
                        value = left * right
                        if max(left, right) > BIG:
                            if float(left) * float(right) > 4e18:
                                out[STATUS] = OVERFLOW
                                return
                reg[target] = value
            elif op == ISSUE:
                e = instructions[target + ENGINE]
                eu = e * 4
                issued = unit[eu + ISSUED]
                d = t
                if resumed != IN_TRANSFER:
                    d = t + code[at_row + 2] + dispatch
                    if issued >= entries:
                        leaves = ring[
                            (e * length + ((issued - entries) & last)) * RING_WIDTH + START
                        ]
                        if leaves > d:
                            seq[QUEUE_TOTAL] += leaves - d
                            d = leaves
                    n_instructions += 1
                    if e < queues:
                        # A reservation: wait until this core has the smallest dispatch time.
                        clock[c] = d
                        seq[PC] = at_row
                        seq[STATE] = IN_TRANSFER
                        break
                    if n_instructions > chip[LIMIT]:
                        out[STATUS] = TOO_MANY
                        return
                resumed = READY
                t = d
                free = unit[eu + FREE]
                operand_time = 0
                operand_engine = 0
                operand_row = 0
                slot_time = 0
                slot_row = 0
                written = 0
                banks = 0
                twice = 0
                most = 0
                held_mask = 0
                held_slot = 0
                held_ready = 0
                stationary = instructions[target + STATIONARY]
                n_operands = instructions[target + OPERANDS]
                # Section 2: what every operand asks for.
                at = target + FIRST_OPERAND
                for o in range(n_operands):
                    slot = instructions[at]
                    if instructions[at + 1] > 1:
                        turn = count[instructions[at + 2]] - instructions[at + 3]
                        if turn < 0:
                            turn += instructions[at + 1]
                        slot += turn
                    sb = slot * SLOT_WIDTH
                    flags = instructions[at + 4]
                    seq[TOUCHED + o] = sb
                    ready = slots[sb + WRITTEN]
                    writer = slots[sb + WRITER]
                    if writer != e:
                        if ready:
                            ready += dependence
                    if flags & READS:
                        if ready > operand_time:
                            operand_time = ready
                            operand_engine = writer
                            operand_row = slots[sb + FROM]
                        if o == stationary:
                            held_slot = sb
                            held_ready = ready
                    if flags & WRITES:
                        if slots[sb + READ] > slot_time:
                            slot_time = slots[sb + READ]
                            slot_row = slots[sb + LAST_READER]
                        written = max(written, slots[sb + WRITTEN])
                        if writer != e:
                            if flags & ADDS:
                                if ready > operand_time:
                                    operand_time = ready
                                    operand_engine = writer
                                    operand_row = slots[sb + FROM]
                            elif max(writer, e) >= queues:  # two queues may fill one slot
                                if ready > slot_time:
                                    slot_time = ready
                                    slot_row = slots[sb + FROM]
                    if flags & IN_SRAM:
                        mask = places[2 * slot]
                        if mask & (mask - 1):
                            if instructions[at + FIRST_BYTE] >= 0:
                                # Of several banks, those that the slice reaches.
                                base = places[2 * slot + 1]
                                low = (base + reg[instructions[at + FIRST_BYTE]]) // bank_bytes
                                high = (base + reg[instructions[at + LAST_BYTE]]) // bank_bytes
                                low = min(max(low, 0), 61)
                                mask &= (2 << min(max(high, 0), 61)) - (1 << low)
                        share = reg[instructions[at + SHARE]]
                        if share == 0:
                            mask = 0
                        seq[BANKS + o] = mask
                        seq[SHARES + o] = share
                        if o == stationary:
                            held_mask = mask
                        else:
                            twice |= banks & mask
                            banks |= mask
                            most = max(most, share)
                    else:
                        seq[BANKS + o] = 0
                    at += OPERAND_WIDTH

                # Section 2: the start; section 6: why not earlier.
                parts = (c * engines + e) * (OPERAND + engines)
                gap = d - free
                begun = free
                fenced = 0
                queued = 0
                if gap > 0:
                    begun = d
                    fenced = min(gap, seq[FENCE_TOTAL] - unit[eu + FENCE_SEEN])
                    attribution[parts + FENCED] += fenced
                    gap -= fenced
                    queued = min(gap, seq[QUEUE_TOTAL] - unit[eu + QUEUE_SEEN])
                    attribution[parts + QUEUE_FULL] += queued
                    attribution[parts + DISPATCHING] += gap - queued
                start = begun
                cause = 0
                if operand_time > start:
                    start = operand_time
                    cause = OPERAND + operand_engine
                if slot_time > start:
                    start = slot_time
                    cause = SLOT
                busy = reg[instructions[target + BASE]]
                stream = reg[instructions[target + STREAM]]
                transfer = e < queues
                if transfer:
                    busy += issue
                    flight = FLIGHT_TIMES + seq[FLIGHTS] % in_flight
                    if seq[flight] > start:
                        start = seq[flight]
                        cause = FLIGHT
                attribution[parts + cause] += start - begun  # nothing where start == begun
                unit[eu + FENCE_SEEN] = seq[FENCE_TOTAL]
                unit[eu + QUEUE_SEEN] = seq[QUEUE_TOTAL]

                # Section 3: occupancy; the block that the matrix unit holds.
                flow = stream
                if stationary >= 0:
                    passes = reg[instructions[target + PASSES]]
                    if passes > 0:
                        # The block that the unit holds: one pass, slot, version, then the slice.
                        differs = (seq[HELD] ^ 1) | (passes ^ 1)
                        differs |= seq[HELD + 1] ^ held_slot
                        differs |= seq[HELD + 2] ^ slots[held_slot + VERSION]
                        differs |= seq[HELD + 3] ^ instructions[target + KEY + 5]
                        for i in range(5):
                            differs |= seq[HELD + 4 + i] ^ reg[instructions[target + KEY + i]]
                            seq[HELD + 4 + i] = reg[instructions[target + KEY + i]]
                        seq[HELD] = passes
                        seq[HELD + 1] = held_slot
                        seq[HELD + 2] = slots[held_slot + VERSION]
                        seq[HELD + 3] = instructions[target + KEY + 5]
                        if differs:
                            load = max(d, max(held_ready, seq[LAST_PASS])) + chip[LOAD_CYCLES]
                            busy += max(0, load - start)
                            flow = reg[instructions[target + FLOW]]
                            if held_mask:
                                twice |= banks & held_mask
                                banks |= held_mask
                                most = max(most, seq[SHARES + stationary])
                        seq[LAST_PASS] = start + busy - stream + reg[instructions[target + LEAD]]

                finish = start + busy
                if transfer:
                    if stream > 0:  # section 4
                        moved = reg[instructions[target + MOVED]]
                        out[BYTES] += moved
                        now = start + issue
                        finish -= now + stream
                        now, windows = _reserve(whole, own, chip, d, now, stream, moved)
                        if windows < 0:
                            out[STATUS] = CALENDAR_FULL
                            return
                        work += windows
                        finish += now
                        attribution[parts + HBM] += finish - start - busy
                # Section 5: the ports of the banks that the operands lie in.
                flown = finish
                demand = 0
                clash = 0
                opened = start + max(0, busy - flow)
                if banks:
                    while twice:  # most: of all that it has in one bank
                        bank = twice & -twice
                        twice ^= bank
                        total = 0
                        for o in range(n_operands):
                            if seq[BANKS + o] & bank:
                                total += seq[SHARES + o]
                        most = max(most, total)
                    clash = max(0, -(-most // port_rate) - flow)
                    flown += clash
                    spread = min(flow, busy) + clash
                    if spread:
                        demand = min(port_rate, -(-most // spread))
                    beside = demand  # at most, with all that may flow beside it
                    for v in range(engines):
                        if unit[v * 4 + FREE] > start:
                            if v != e:
                                # The ring holds all that ends after the start.
                                n = unit[v * 4 + ISSUED] - 1
                                entry = (v * length + (n & last)) * RING_WIDTH
                                peak = 0
                                while n >= 0 and ring[entry + END] > start:
                                    if ring[entry + MASK] & banks:
                                        if ring[entry + WINDOW_START] < flown:
                                            peak = max(peak, ring[entry + LOAD])
                                            if ring[entry + FLOWN] < ring[entry + END]:
                                                peak = port_rate
                                    n -= 1
                                    entry = (v * length + (n & last)) * RING_WIDTH
                                beside += peak
                    finish = flown
                    if beside > port_rate:
                        # From one change of what flows to the next.
                        now = opened
                        late = 0
                        while now < flown or late > 0:
                            load = 0
                            change = FAR
                            for v in range(engines):
                                if unit[v * 4 + FREE] > now:
                                    if v != e:
                                        n = unit[v * 4 + ISSUED] - 1
                                        entry = (v * length + (n & last)) * RING_WIDTH
                                        while n >= 0 and ring[entry + END] > now:
                                            if ring[entry + MASK] & banks:
                                                if now < ring[entry + WINDOW_START]:
                                                    border = ring[entry + WINDOW_START]
                                                elif now < ring[entry + FLOWN]:
                                                    border = ring[entry + FLOWN]
                                                    load += ring[entry + LOAD]
                                                else:
                                                    border = ring[entry + END]
                                                    load += port_rate
                                                change = min(change, border)
                                            n -= 1
                                            entry = (v * length + (n & last)) * RING_WIDTH
                            room = max(0, port_rate - load)
                            if now < flown:
                                change = min(change, flown)
                                late += max(0, demand - room) * (change - now)
                                now = change
                            elif room > 0 and -(-late // room) <= change - now:
                                now += -(-late // room)
                                late = 0
                            else:
                                late -= room * (change - now)
                                now = change
                        finish = now
                # Section 2: when the result is there, and who waits for it.
                extra = finish - flown + clash
                ready = finish + instructions[target + LATENCY]
                if transfer:
                    # Transfers to one slot or tensor arrive in the order of the text.
                    ready = max(ready, written)
                    seq[flight] = ready
                    seq[FLIGHTS] += 1
                seq[LATEST] = max(seq[LATEST], ready)
                attribution[parts + BUSY] += busy
                attribution[parts + PORT] += extra
                unit[eu + FREE] = finish
                unit[eu + ISSUED] = issued + 1
                entry = (e * length + (issued & last)) * RING_WIDTH
                ring[entry + WINDOW_START] = opened
                ring[entry + FLOWN] = flown
                ring[entry + START] = start
                ring[entry + END] = finish
                ring[entry + MASK] = banks
                ring[entry + LOAD] = demand
                n = out[TRACED]
                for o in range(n_operands):
                    sb = seq[TOUCHED + o]
                    flags = instructions[target + FIRST_OPERAND + 4 + o * OPERAND_WIDTH]
                    if flags & READS:
                        if finish > slots[sb + READ]:
                            slots[sb + READ] = finish
                            slots[sb + LAST_READER] = n
                    if flags & WRITES:
                        if ready >= slots[sb + WRITTEN]:
                            slots[sb + WRITTEN] = ready
                            slots[sb + WRITER] = e
                            slots[sb + FROM] = n
                        slots[sb + VERSION] += 1
                if n < len(trace):
                    line = _words(trace, n)
                    line[0] = c
                    line[1] = e
                    line[2] = code[at_row + 3]
                    line[3] = d
                    line[4] = start
                    line[5] = finish
                    line[6] = ready
                    if trace.shape[1] > CAUSE:
                        line[CAUSE] = cause
                        line[SOURCE] = slot_row if cause == SLOT else operand_row
                        line[BY_FENCE] = fenced
                        line[BY_QUEUE] = queued
                        line[BY_DISPATCH] = max(0, gap - queued)
                        line[OCCUPIED] = busy
                        line[BY_HBM] = flown - clash - start - busy
                        line[BY_PORT] = extra
                        line[AMOUNT] = 0
                        if instructions[target + MOVED] >= 0:
                            line[AMOUNT] = reg[instructions[target + MOVED]]
                        line[FLOWING] = stream
                        line[FENCE_SO_FAR] = seq[FENCE_TOTAL]
                        line[QUEUE_SO_FAR] = seq[QUEUE_TOTAL]
                    out[TRACED] = n + 1
            elif op == GUARD:
                value = reg[target]
                if value != reg[code[at_row + 2]]:
                    reg[code[at_row + 2]] = value
                    dirty = True
            elif op == SKIP:
                if not dirty:
                    pc = target
                dirty = False
            elif op == NEXT:
                trip = reg[code[at_row + 2]] + 1
                reg[code[at_row + 2]] = trip
                if trip < reg[code[at_row + 3]] + code[at_row + 5]:
                    reg[target] += reg[code[at_row + 4]]
                    t += code[at_row + 6]
                    pc = code[at_row + 7]
                    work += code[at_row + 8]
                    if work > chip[WORK_LIMIT]:
                        out[STATUS] = TOO_MUCH_WORK
                        return
            elif op == STAGE:
                trip = reg[code[at_row + 2]] - target
                if trip < 0 or trip >= reg[code[at_row + 3]]:
                    pc = code[at_row + 4]
            elif op == DECLARE:
                turn = count[target] + 1
                if turn == code[at_row + 2]:
                    turn = 0
                count[target] = turn
            elif op == BRANCH:
                if not reg[target]:
                    pc = code[at_row + 2]
            elif op == JUMP:
                pc = target
            elif op == SEQUENCER:
                t += target
            elif op == RESET:
                reg[target] = FORGOTTEN
            elif op == LOOP:
                first = reg[code[at_row + 4]]
                trips = max(0, -((first - reg[code[at_row + 5]]) // reg[code[at_row + 6]]))
                reg[target] = first
                reg[code[at_row + 2]] = 0
                reg[code[at_row + 3]] = trips
                t += code[at_row + 8]
                if trips == 0:
                    t -= code[at_row + 8]
                    pc = code[at_row + 7]
            elif op == FENCE:
                t += target + dispatch
                idle = seq[LATEST]
                for v in range(engines):
                    idle = max(idle, unit[v * 4 + FREE])
                if idle > t:
                    seq[FENCE_TOTAL] += idle - t
                    t = idle
                n_instructions += 1
                if n_instructions > chip[LIMIT]:
                    out[STATUS] = TOO_MANY
                    return
            else:  # ITEM
                turn = seq[TURN]
                if order == 3:
                    if resumed != WAITS_FOR_ITEM:
                        clock[c] = t
                        seq[PC] = at_row
                        seq[STATE] = WAITS_FOR_ITEM
                        break
                    resumed = READY
                    item = out[NEXT_ITEM]
                    out[NEXT_ITEM] = item + 1
                    t += chip[FETCH_CYCLES]
                elif order == 0:
                    item = c * items // cores + turn
                    if item >= (c + 1) * items // cores:
                        item = items
                else:
                    item = turn * cores + c
                    if order == 2:
                        if turn & 1:
                            item += cores - 1 - 2 * c
                # With snake, a core may have no item in the last, incomplete round.
                if item >= items:
                    seq[LATEST] = max(seq[LATEST], t)
                    clock[c] = FAR
                    break
                seq[TURN] = turn + 1
                reg[target] = item
                t += code[at_row + 2]
                work += code[at_row + 3]
                if work > chip[WORK_LIMIT]:
                    out[STATUS] = TOO_MUCH_WORK
                    return
    out[INSTRUCTIONS] = n_instructions
    out[WORK] = work
