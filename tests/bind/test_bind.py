"""Binding: what a kernel asks of a chip and of a case, each refusal with its message."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from m890sim.bind import bind
from m890sim.chip import M890, ChipSpec
from m890sim.errors import BindError, LimitError
from m890sim.kernel.ir import Const, Name, TileDecl
from m890sim.language import Limits, parse
from m890sim.timing import simulate_program
from m890sim.timing.oracle import simulate_slowly

HEAD = "from m890sim.lang import *\n\n@kernel\n"
SIGNATURE = (
    'def copy_rows(x: Tensor["N", "D"], y: Tensor["N", "D"], t: Table["B + 1"], R: Tunable = 8):\n'
)
BODY = """    for i in cores(ceil_div(N, R)):
        rows = min(R, N - i * R)
        a = sram(R, D, bf16)
        load(a[:rows], x[i * R : i * R + rows, :])
        store(y[i * R : i * R + rows, :], a[:rows])
"""
SYMBOLS = {"N": 100, "D": 64, "B": 1}
TABLES = {"t": np.array([0, 100])}


def run(
    body: str = BODY,
    symbols: dict[str, int] | None = None,
    tables: dict[str, Any] | None = None,
    chip: ChipSpec = M890,
    limits: Limits | None = None,
) -> Any:
    kernel = parse(HEAD + SIGNATURE + body, filename="copy.py")
    return simulate_program(
        kernel,
        chip,
        SYMBOLS if symbols is None else symbols,
        TABLES if tables is None else tables,
        limits=limits or Limits(),
    )


def test_bind_is_remembered_for_a_kernel_and_a_chip() -> None:
    kernel = parse(HEAD + SIGNATURE + BODY)
    assert bind(kernel, M890) is bind(kernel, M890)
    assert bind(kernel, M890) is not bind(kernel, M890.replace(cores=2))


def test_one_program_serves_every_case() -> None:
    kernel = parse(HEAD + SIGNATURE + BODY)
    few = simulate_program(kernel, M890, SYMBOLS | {"N": 8}, TABLES)
    many = simulate_program(kernel, M890, SYMBOLS | {"N": 8 * 17}, TABLES)
    assert (few.instructions, many.instructions) == (2, 34)
    assert few.cycles < many.cycles


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": {"N": 1, "B": 1}}, "E304 the case gives no value for D; it gives B, N"),
        ({"symbols": SYMBOLS | {"D": -1}}, r"E304 D is -1; symbols and sizes lie between 0 and"),
        ({"tables": {}}, "E304 the case gives no table t; it gives nothing"),
        ({"symbols": SYMBOLS | {"D": 2**31}}, r"E304 D is 2147483648; symbols and sizes lie"),
        ({"tables": {"t": np.zeros((2, 2), int)}}, "E304 table t has 2 dimensions"),
        ({"tables": {"t": np.array([0, 2**31])}}, r"E304 table t holds numbers of 2\*\*31 or more"),
        ({"tables": {"t": np.array([0, -(2**31)])}}, r"E304 table t holds numbers of 2\*\*31 or"),
        (
            {"tables": {"t": np.array([2**63], "u8")}},
            r"E304 table t holds numbers of 2\*\*31 or more",
        ),
        ({"tables": {"t": np.array([0, 9, 100])}}, "E304 table t has 3 elements, the kernel decl"),
        ({"symbols": SYMBOLS | {"D": 65536}}, "E301 no room for tile a: the phase's tiles take"),
        (
            {
                "body": BODY.replace(
                    "x[i * R : i * R + rows, :]", "x[i * R : i * R + rows, :], queue=4"
                )
            },
            "copy.py:8:9: E303 queue 4, m890 has queues 0 to 3; change queue=",
        ),
        (
            {"body": BODY.replace("bf16)", "bf16, at=16)")},
            "E305 tile a asks for bank 16, m890 has banks 0 to 15",
        ),
        (
            {"body": "    z = hbm(N * 2**31 * 8, D, bf16)\n".replace("2**31", "2147483648") + BODY},
            "E308 HBM scratch takes .* bytes, m890 has 144000000000",
        ),
        (
            {
                "body": BODY.replace(
                    "min(R, N - i * R)", "min(R, N - i * R)\n        z = N * N * N"
                ),
                "symbols": SYMBOLS | {"N": 2**30},
            },
            "E306 a scalar of this case comes to .*, beyond",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BindError, match=message):
        run(**change)


def test_another_case_with_the_same_tiles_is_refused_alike() -> None:
    program = bind(parse(HEAD + SIGNATURE + BODY, filename="copy.py"), M890)
    found = []
    for rows in (100, 200):
        with pytest.raises(BindError, match="E301 no room for tile a") as caught:
            program.launch(SYMBOLS | {"D": 65536, "N": rows}, TABLES)
        found.append(caught.value)
    assert found[0] is not found[1] and str(found[0]) == str(found[1])
    assert program.launch(SYMBOLS, TABLES).places.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": SYMBOLS | {"N": 100.0}}, r"symbol N must be an integer, not 100\.0"),
        ({"symbols": SYMBOLS | {"B": True}}, "symbol B must be an integer, not True"),
        ({"tables": {"t": np.array([0.5, 100.0])}}, "table t must hold integers, not float64"),
    ],
)
def test_what_is_no_integer_is_misuse(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        run(**change)


@pytest.mark.parametrize("instructions", [25, 26])
def test_the_limit_on_instructions_is_exact(instructions: int) -> None:
    limits = Limits(instructions=instructions)
    if instructions == 26:  # 13 work items of 2
        assert run(limits=limits).instructions == 26
        return
    with pytest.raises(LimitError, match="E505 the launch dispatches more than 25 instructions"):
        run(limits=limits)


def test_a_transfer_that_reaches_too_far_ahead_is_refused() -> None:
    rates = dict.fromkeys(
        ("dma_bytes_per_cycle", "hbm_bytes_per_cycle", "hbm_core_bytes_per_cycle"), 1
    )
    chip = M890.replace(cores=1, sram_bytes=2**22, hbm_window_cycles=1, **rates)
    body = BODY.replace("R, D, bf16", "8, 65536, bf16")
    symbols = SYMBOLS | {"N": 8, "D": 65536}
    assert run(body, symbols, chip=chip.replace(hbm_window_cycles=2)).cycles > 2**21
    message = "E507 a transfer reaches more than 1048576 HBM windows beyond its dispatch; use "
    with pytest.raises(LimitError, match=message):
        run(body, symbols | {"D": 65536}, chip=chip)


def test_a_setting_that_is_no_constant_is_refused_in_a_kernel_built_by_code() -> None:
    kernel = parse(HEAD + SIGNATURE + BODY, filename="copy.py")
    phase = kernel.phases[0]
    body = tuple(
        replace(stmt, slots=Name("N")) if isinstance(stmt, TileDecl) else stmt
        for stmt in phase.body
    )
    built = replace(kernel, body=(replace(phase, body=body),))
    message = "copy.py:7:9: E309 slots= must be a number or an expression of tunables"
    with pytest.raises(BindError, match=message):
        bind(built, M890)


def test_slots_beyond_what_a_chip_could_have_are_refused_before_any_list_is_made() -> None:
    kernel = parse(HEAD + SIGNATURE + BODY, filename="copy.py")
    phase = kernel.phases[0]
    body = tuple(
        replace(stmt, slots=Const(2**31 - 1)) if isinstance(stmt, TileDecl) else stmt
        for stmt in phase.body
    )
    built = replace(kernel, body=(replace(phase, body=body),))
    with pytest.raises(BindError, match="E309 slots= is 2147483647, must be 1 to 4096"):
        bind(built, M890)


@pytest.mark.parametrize("dims", ["R * 0, D", "1, 1"])
def test_slots_of_all_tiles_together_are_bounded(dims: str) -> None:
    """Empty tiles and those of other phases take no room, yet each slot is kept track of."""
    tiles = [f"    for z{n} in cores(1):\n        e{n} = acc({dims}, slots=4096)\n" for n in "123"]
    fourth = "    for z4 in cores(1):\n        e4 = acc({}, slots={})\n"
    assert run("".join(tiles) + fourth.format(dims, 4095) + BODY).instructions == 26
    message = "copy.py:.* E309 with a the kernel's tiles have 16385 slots, the most is 16384; use"
    with pytest.raises(BindError, match=message):
        run("".join(tiles) + fourth.format(dims, 4096) + BODY)


def test_empty_loops_without_end_are_refused() -> None:
    body = "    for i in cores(N):\n        for j in range(0, 2147483648):\n            k = j\n"
    with pytest.raises(LimitError, match="E506 the launch runs through more than 1000 loop trips"):
        run(body, limits=Limits(instructions=100))


def test_scalars_that_grow_without_bound_are_refused() -> None:
    body = "    for i in cores(1):\n        for j in range(N - 1, N):\n"
    body += "            for k in range(0, j * j * j):\n                c = k\n"
    with pytest.raises(LimitError, match=r"E508 a scalar grows beyond 2\*\*62"):
        run(body, symbols=SYMBOLS | {"N": 2**30})


def test_work_items_are_bounded_before_any_runs() -> None:
    body = "    for i in cores(N):\n        fence()\n    for i, j in cores(N, D):\n        pass\n"
    assert run(body, limits=Limits(items=100 * 65)).instructions == 100
    message = "E506 the launch has 6,500 work items, the most is 6,499; use larger blocks or a "
    with pytest.raises(LimitError, match=message):
        run(body, limits=Limits(items=100 * 65 - 1))
    huge = "    for i, j in cores(2147483647, D):\n        fence()\n"
    with pytest.raises(LimitError, match="E506 the launch has 137,438,953,408 work items"):
        run(huge)


def test_instructions_that_items_certainly_have_are_counted_before_any_runs() -> None:
    body = "    for i in cores(N * N):\n        fence()\n        fence()\n        if i < 0:\n"
    body += "            fence()\n"
    message = "E505 the launch dispatches more than 19999 instructions"
    assert run(body, limits=Limits(instructions=20000)).instructions == 20000
    program = bind(parse(HEAD + SIGNATURE + body), M890)
    assert program.phases[0, 3] == 2
    with pytest.raises(LimitError, match=message):
        run(body, limits=Limits(instructions=19999))


def test_extents_below_zero_give_no_items() -> None:
    body = "    for i, j in cores(N - 200, D - 200):\n        fence()\n"
    kernel = parse(HEAD + SIGNATURE + body)
    expected = simulate_slowly(kernel, M890, SYMBOLS, TABLES)
    assert run(body).instructions == expected.instructions == 0


@pytest.mark.parametrize("outer", ["for j in cores(10_000)", "for i in cores(1)"])
def test_integers_that_a_kernel_works_out_count_against_the_limit(outer: str) -> None:
    """A long body of assignments, run often, is work too, though nothing is dispatched."""
    loop = "for j in range(0, 10_000):\n            " if outer.startswith("for i") else ""
    lines = ["w0 = j * 3 + N"] + [f"w{n} = (w{n - 1} * 5 + j) % 1009" for n in range(1, 300)]
    space = " " * (12 if loop else 8)
    body = f"    {outer}:\n        {loop}" + f"\n{space}".join(lines)
    body += f"\n{space}if w299 < 0:\n{space}    fence()\n"
    run(body)
    with pytest.raises(LimitError, match="E506 the launch runs through more than 1000000 loop"):
        run(body, limits=Limits(instructions=100_000))


def test_the_most_slots_take_little_memory_and_many_phases_no_more() -> None:
    run()  # the engine is compiled
    body = "    for z{0} in cores(1):\n        e{0} = acc(0, {0}, slots=40)\n"
    tracemalloc.start()
    try:
        run("".join(body.format(n) for n in range(400)) + BODY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2**20
