"""Limits bind at N - 1 and no longer at N, and more of a part never costs cycles.

Cases small enough to add up by hand, as in `test_closed_forms`.
"""

from __future__ import annotations

import pytest

from m890sim.chip import M890, M890_LEAN, M890_MINI, ChipSpec
from m890sim.errors import BindError
from tests.timing.closed import (
    BUSY_END,
    DISPATCH,
    READY,
    START,
    both_chips,
    ceil_div,
    first_dispatch,
    timed,
)

# ---- SRAM ports ----


@both_chips
@pytest.mark.parametrize("bank", [0, 1])
def test_two_operands_in_one_bank_double_the_stream(chip: ChipSpec, bank: int) -> None:
    body = (
        "for i in cores(1):\n    t = sram(8, 32, f32, at=0)\n"
        f"    u = sram(8, 32, f32, at={bank})\n    fill(t, 1.0)\n    copy(u, t)"
    )
    _, (_, copy) = timed(body, chip)
    stream = ceil_div(256, chip.vector_f32_lanes)
    expected = chip.vector_startup_cycles + (2 if bank == 0 else 1) * stream
    assert copy[BUSY_END] - copy[START] == expected


# On the mini chip the vector unit writes 32 bf16 = 64 B a cycle and the SFU reads 4 f32 = 16 B:
# together 80 B, which a port of 80 B a cycle serves and one of 79 B does not.
_RIVALS = """
for i in cores(1):
    t = sram(64, 64, bf16, at=0)
    u = sram(8, 40, f32, at={bank})
    w = acc(8, 40)
    fill(u, 1.0)
    exp2(w, u)
    fence()
    {first}
    {second}
"""
_STREAMS = {"fill(t, 1.0)": 4096 // 32, "exp2(w, u)": 320 // 4}


# What the later one has left is put off: 1 byte in each cycle that both flow. Beside the vector
# unit 79 - 64 bytes a cycle are left for it, behind the SFU's end the whole port.
@pytest.mark.parametrize(("port", "left"), [(80, (None, None)), (79, (79 - 64, 79))])
@pytest.mark.parametrize("bank", [0, 1])
@pytest.mark.parametrize("order", [1, -1])
def test_the_later_of_two_engines_pays_for_a_port_they_share(
    port: int, left: tuple[int | None, int | None], bank: int, order: int
) -> None:
    first, second = list(_STREAMS)[::order]
    body = _RIVALS.format(bank=bank, first=first, second=second)
    chip = M890_MINI.replace(
        sram_port_bytes_per_cycle=port, vector_startup_cycles=0, sfu_startup_cycles=0
    )
    _, (*_, one, two) = timed(body, chip)
    assert two[START] == one[START] + chip.sequencer_dispatch_cycles
    assert one[BUSY_END] - one[START] == _STREAMS[first]
    put_off = min(one[BUSY_END] - two[START], _STREAMS[second])
    room = left[0 if order == 1 else 1]
    extra = ceil_div(put_off, room) if room is not None and bank == 0 else 0
    assert two[BUSY_END] - two[START] == _STREAMS[second] + extra


@both_chips
@pytest.mark.parametrize("names", ["a b c", "a a a", "a b b"])
def test_three_slices_in_one_bank_cost_what_three_tiles_cost(chip: ChipSpec, names: str) -> None:
    """Whatever holds the slices, a port serves three full streams in three times the stream."""
    rows = chip.vector_bf16_lanes // 8
    one, two, three = names.split()
    pieces = {one: 0, two: rows, three: 2 * rows}  # a name's last place decides nothing
    tiles = "".join(f"    {n} = sram({3 * rows}, 32, bf16, at=0)\n" for n in sorted(pieces))
    body = f"for i in cores(1):\n{tiles}" + "".join(f"    fill({n}, 1.0)\n" for n in sorted(pieces))
    at = [f"{n}[{k * rows} : {(k + 1) * rows}]" for k, n in enumerate((one, two, three))]
    _, (*_, add) = timed(f"{body}    add({', '.join(at)})", chip)
    stream = ceil_div(rows * 32, chip.vector_bf16_lanes)
    assert add[BUSY_END] - add[START] == chip.vector_startup_cycles + 3 * stream


@both_chips
def test_the_same_slice_named_twice_is_one_stream(chip: ChipSpec) -> None:
    tile = "for i in cores(1):\n    a = sram(64, 32, bf16)\n    fill(a, 1.0)\n"
    stream = ceil_div(32 * 32, chip.vector_bf16_lanes)
    for text, streams in [
        ("mul(a[:32], a[:32], a[:32])", 1),
        ("mul(a[:32], a[32:], a[:32])", 2),
        ("mul(a[1:33], a[:32], a[2:34])", 3),
    ]:
        _, (_, mul) = timed(f"{tile}    {text}", chip)
        assert mul[BUSY_END] - mul[START] == chip.vector_startup_cycles + streams * stream


# ---- room ----


_FIRST = """
        a = sram({one} * N, D, bf16, at=0)
        s = acc({one} * N, D, slots=2)
        fill(a, 1.0)
        copy(s, a)
"""
_SECOND = """
        b = sram({two} * N, D, bf16)
        c = acc({two} * N, D)
        d = acc({two} * N, D)
        fill(b, 1.0)
        add(c, b, b)
        copy(d, c)
"""


@both_chips
@pytest.mark.parametrize("one", [0, 1])
def test_a_form_that_a_case_does_not_need_takes_no_room(chip: ChipSpec, one: int) -> None:
    """Each of two forms fills ACC; one with empty tiles is as if it were not there."""
    case = {"N": 32, "D": chip.acc_bytes // (2 * 32 * 4)}
    params = f'x: Tensor["N", "D"], ONE: Tunable = {one}'

    def cycles_and_times(first: str, second: str) -> tuple[int, list[tuple[int, ...]]]:
        body = f"for i in cores(1):\n    if ONE:{first}    else:{second}"
        cycles, rows = timed(body, chip, params, **case)
        return cycles, [row[DISPATCH:] for row in rows]

    both = cycles_and_times(_FIRST.format(one="ONE"), _SECOND.format(two="(1 - ONE)"))
    first = _FIRST.format(one="1") if one else "\n        pass\n"
    assert both == cycles_and_times(first, "\n        pass\n" if one else _SECOND.format(two="1"))
    with pytest.raises(BindError, match="E302"):
        cycles_and_times(_FIRST.format(one="1"), _SECOND.format(two="1"))


@both_chips
def test_an_instruction_on_an_empty_tile_pays_its_start_up_alone(chip: ChipSpec) -> None:
    _, (fill,) = timed("for i in cores(1):\n    t = sram(0, 64, bf16)\n    fill(t, 1.0)", chip)
    assert fill[BUSY_END] - fill[START] == chip.vector_startup_cycles


# ---- integer operations ----


def _sum(terms: list[str]) -> str:
    """A sum that is not nested deeply."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_sum(terms[:half])} + {_sum(terms[half:])})"


@both_chips
@pytest.mark.parametrize("count", [0, 3, 4, 5, 12, 300])
def test_operations_beyond_the_allowance_cost_the_sequencer(chip: ChipSpec, count: int) -> None:
    """An assignment, a condition and a loop's bounds have one allowance, operands one each."""
    terms = _sum([*[f"i // {n}" for n in range(2, count // 2 + 2)], "i"])
    operations = count // 2 * 2
    free = chip.sequencer_address_operations
    for statement, spent, allowed in [
        (f"x = {terms}\n    fill(t, 1.0)", 1, free),
        (f"if ({terms}) >= 0 * i:\n        fill(t, 1.0)", 1, free - 2),
        (f"for j in range(0, 1 + ({terms})):\n        fill(t, 1.0)", None, free - 1),
        (f"fill(t[{terms} : 1 + ({terms})], 1.0)", 0, free - 1),
    ]:
        body = f"for i in cores(1):\n    t = acc(8, 32)\n    {statement}"
        _, (fill,) = timed(body, chip)
        if spent is None:
            spent = chip.sequencer_loop_cycles
        elif spent:
            spent = chip.sequencer_scalar_cycles
        beyond = max(0, operations - allowed) * chip.sequencer_scalar_cycles
        assert fill[DISPATCH] == first_dispatch(chip) + spent + beyond, statement


def test_what_the_launch_knows_and_what_is_written_twice_is_free() -> None:
    known = _sum([f"N // {n}" for n in range(2, 40)])
    twice = " + ".join(["i // 3"] * 1 + ["(i // 3 + 1)"] * 2)
    for text, operations in [(known, 0), (f"({known}) * i", 1), (twice, 4), (f"{twice} + i", 5)]:
        body = f"for i in cores(1):\n    t = acc(N, 32)\n    x = {text}\n    fill(t, 1.0)"
        _, (fill,) = timed(body, M890, "N: Size", N=1)
        assert fill[DISPATCH] == first_dispatch(M890) + 1 + max(0, operations - 4), text


# ---- order of transfers ----


_RACE = """
for i in cores(1):
    a = sram(128, 32, bf16)
    b = sram(1, 32, bf16)
    fill(a, 1.0)
    fill(b, 2.0)
    fence()
    {first}
    {second}
"""


@both_chips
@pytest.mark.parametrize(
    ("first", "second", "ordered"),
    [
        ("store(x, a)", "store(x[:1, :], b, queue=1)", True),
        ("store(x[1:, :], a[1:])", "store(x[:1, :], b, queue=1)", True),
        ("store(x, a)", "store(y[:1, :], b, queue=1)", False),
        ("load(a, x)", "load(a[:1], y[:1, :], queue=1)", True),
        ("load(a, x)", "load(b, y[:1, :], queue=1)", False),
    ],
)
def test_transfers_to_one_destination_arrive_in_the_order_of_the_text(
    chip: ChipSpec, first: str, second: str, ordered: bool
) -> None:
    body = _RACE.format(first=first, second=second)
    _, (*_, one, two) = timed(body, chip, 'x: Tensor["N", 32], y: Tensor["N", 32]', N=128)
    assert two[BUSY_END] < one[BUSY_END]
    arrival = chip.dma_latency_cycles + chip.dma_completion_cycles
    expected = one[READY] if ordered else two[BUSY_END] + arrival
    assert two[READY] == expected


# ---- limits: queue entries, transfers in flight, slots ----


@pytest.mark.parametrize("entries", [1, 2, 5])
def test_the_sequencer_stalls_at_a_full_queue_and_not_before(entries: int) -> None:
    # The first fill leaves the queue at once; `entries` more wait in it while it runs.
    chip = M890.replace(sequencer_queue_entries=entries)
    body = "for i in cores(1):\n    t = acc(8, 32)\n" + (entries + 2) * "    fill(t, 1.0)\n"
    _, rows = timed(body, chip)
    expected = [first_dispatch(chip) + 4 * i for i in range(entries + 1)]
    assert [row[DISPATCH] for row in rows[:-1]] == expected
    assert rows[-1][DISPATCH] == rows[1][START] == rows[0][BUSY_END]
    _, rows = timed(body, chip.replace(sequencer_queue_entries=entries + 1))
    assert rows[-1][DISPATCH] == expected[-1] + 4


@both_chips
@pytest.mark.parametrize("flying", [1, 2])
def test_a_transfer_waits_where_too_many_are_under_way(chip: ChipSpec, flying: int) -> None:
    lines = "".join(
        f"    t{i} = sram(1, 32, bf16)\n    load(t{i}, x[{i}, :], queue={i % 2})\n"
        for i in range(flying + 1)
    )
    limited = chip.replace(dma_in_flight=flying, dma_latency_cycles=500)
    params = 'x: Tensor["N", 32]'
    _, rows = timed("for i in cores(1):\n" + lines, limited, params, N=4)
    assert rows[-1][START] == rows[0][READY]
    _, rows = timed(
        "for i in cores(1):\n" + lines, limited.replace(dma_in_flight=flying + 1), params, N=4
    )
    free = rows[-3][BUSY_END] if flying == 2 else 0
    assert rows[-1][START] == max(rows[-1][DISPATCH], free) < rows[0][READY]


@both_chips
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_load_waits_for_the_readers_of_the_slot_it_fills(chip: ChipSpec, slots: int) -> None:
    body = f"""
for i in cores(1):
    s = acc(4, 32)
    for j in range(0, 4):
        t = sram(4, 32, f32, slots={slots})
        load(t, x[j, :, :])
        exp2(s, t)
"""
    roomy = chip.replace(sfu_elements_per_cycle=1, dma_in_flight=16, sequencer_queue_entries=16)
    _, rows = timed(body, roomy, 'x: Tensor["N", 4, 32, f32]', N=4)
    loads, readers = rows[0::2], rows[1::2]
    for i in range(4):
        free = loads[i - 1][BUSY_END] if i else 0
        reader = readers[i - slots][BUSY_END] if i >= slots else 0
        assert loads[i][START] == max(loads[i][DISPATCH], free, reader)
        if i >= slots:
            assert loads[i][START] == reader


# ---- more of anything never costs cycles here ----

_PIPELINE = """
for i in cores(4):
    b = sram(32, 32, bf16, at=2)
    fill(b, 1.0)
    for j in range(0, 6):
        t = sram(16, 32, bf16, slots={slots})
        u = sram(16, 32, bf16, slots={slots})
        s = acc(16, 32, slots={slots})
        {stage0}load(t, x[i, j, :, :], queue=0)
        {stage1}matmul(s, t, b)
        {indent}exp2(u, s)
        {indent}store(y[i, j, :, :], u, queue=1)
"""
_PARAMS = "x: Tensor[4, 6, 16, 32], y: Tensor[4, 6, 16, 32]"


def _pipeline(slots: int = 2, staged: bool = False) -> str:
    indent = " " * 4 if staged else ""
    stages = [f"with stage({n}):\n{' ' * 12}" if staged else "" for n in (0, 1)]
    return _PIPELINE.format(slots=slots, stage0=stages[0], stage1=stages[1], indent=indent)


every_chip = pytest.mark.parametrize(
    "chip",
    [chip.replace(cores=2) for chip in (M890, M890_MINI, M890_LEAN)],
    ids=lambda chip: chip.name,
)


@every_chip
@pytest.mark.parametrize("staged", [False, True])
def test_another_slot_never_costs_cycles(chip: ChipSpec, staged: bool) -> None:
    actual = [timed(_pipeline(slots, staged), chip, _PARAMS)[0] for slots in (2, 3, 4)]
    if not staged:
        actual.insert(0, timed(_pipeline(1), chip, _PARAMS)[0])
        assert actual[1] < actual[0]
    assert actual == sorted(actual, reverse=True)


_LOADS = "for i in cores(4):\n" + "".join(
    f"    t{i} = sram(1, 512, bf16)\n    load(t{i}, x[{i}, :], queue={i} % Q)\n" for i in range(8)
)


@every_chip
def test_another_queue_never_costs_cycles(chip: ChipSpec) -> None:
    actual = []
    for queues in range(1, 5):
        params = f"x: Tensor[8, 512], Q: Tunable = {queues}"
        actual.append(timed(_LOADS, chip.replace(dma_queues=queues), params)[0])
    assert actual == sorted(actual, reverse=True)
    assert actual[1] < actual[0]


_CASES = {
    "one run": ["t = sram(1, 512, bf16)", "load(t, x[i, :])"],
    "many runs": ["t = sram(8, 64, bf16)", "load(t, x[0:8, 0:64])"],
    "two queues": [
        "t = sram(1, 512, bf16)",
        "u = sram(1, 512, bf16)",
        "load(t, x[i, :])",
        "load(u, x[i + 1, :], queue=1)",
    ],
    "matmul": [
        "a = sram(40, 160, bf16)",
        "b = sram(160, 160, bf16, at=2)",
        "c = acc(40, 160)",
        "fill(a, 1.0)",
        "fill(b, 1.0)",
        "matmul(c, a, b)",
        "matmul(c, a, b)",
    ],
    "chain": ["t = acc(8, 100)", "fill(t, 1.0)", "exp2(t, t)", "add(t, t, 1.0)", "exp2(t, t)"],
    "side by side": [
        "t = acc(8, 100)",
        "u = acc(8, 100)",
        "fill(t, 1.0)",
        "exp2(t, t)",
        "fill(u, 1.0)",
        "add(u, u, t)",
    ],
    "one bank": [
        "t = sram(8, 32, f32, at=0)",
        "u = sram(8, 32, f32, at=0)",
        "fill(t, 1.0)",
        "copy(u, t)",
        "fill(t, 2.0)",
        "exp2(u, u)",
    ],
}
_BANDWIDTHS = (
    "dma_bytes_per_cycle",
    "hbm_bytes_per_cycle",
    "hbm_core_bytes_per_cycle",
    "dma_in_flight",
    "sram_port_bytes_per_cycle",
    "sequencer_queue_entries",
    "matrix_rows",
    "matrix_columns",
)
# A faster unit asks more of a port: these may cost cycles where a port is fought over.
_RATES = ("vector_f32_lanes", "vector_bf16_lanes", "sfu_elements_per_cycle")


@every_chip
@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in _CASES for name in _BANDWIDTHS]
    + [(case, name) for case in ("matmul", "chain", "side by side") for name in _RATES],
)
def test_more_of_a_part_never_costs_cycles(chip: ChipSpec, case: str, name: str) -> None:
    body = "for i in cores(4):\n" + "".join(f"    {line}\n" for line in _CASES[case])
    start = chip.replace(dma_bytes_per_cycle=4, sequencer_queue_entries=1, dma_in_flight=1)
    changed = [start.replace(**{name: getattr(start, name) * factor}) for factor in (1, 2, 4)]
    actual = [timed(body, chip, 'x: Tensor["N", 512]', N=8)[0] for chip in changed]
    assert actual == sorted(actual, reverse=True)
