"""Alike tiles of blocks that follow one another share slots (docs/timing.md, section 1)."""

from __future__ import annotations

import dataclasses

import pytest

from m890sim.bind import bind
from m890sim.chip import get_chip
from m890sim.errors import BindError
from m890sim.kernel import ir
from m890sim.language import parse
from m890sim.schedule import EditError, candidates, rewrite
from m890sim.timing import simulate_program
from tests.generators import Program, random_program
from tests.timing.test_oracle_agreement import mismatch

HEAD = """from m890sim.lang import *


@kernel
def k(x: Tensor["N", "D"], y: Tensor["N", "D"]):
    for i in cores(1):
"""
LOOP = """        for {var} in range(0, N, 64):
            {tile} = sram(64, D, bf16{more})
            load({tile}, x[{var} : {var} + 64, :])
            store(y[{var} : {var} + 64, :], {tile})
"""


def tiles_of(body: str) -> int:
    return len(bind(parse(HEAD + body), get_chip("m890")).tiles)


def test_tiles_of_loops_that_follow_one_another_share() -> None:
    first = LOOP.format(var="j", tile="a", more="")
    assert tiles_of(first + LOOP.format(var="l", tile="b", more="")) == 1


@pytest.mark.parametrize("more", [", slots=2", ", at=3"])
def test_tiles_that_are_not_alike_do_not_share(more: str) -> None:
    first = LOOP.format(var="j", tile="a", more="")
    assert tiles_of(first + LOOP.format(var="l", tile="b", more=more)) == 2


def test_branches_share_and_an_open_block_does_not() -> None:
    body = """        a = sram(8, D, bf16)
        fill(a, 0.0)
        if N > 3:
            b = sram(8, D, bf16)
            copy(b, a)
        else:
            c = sram(8, D, bf16)
            copy(c, a)
"""
    assert tiles_of(body) == 2


def test_slots_have_one_owner_at_a_time() -> None:
    body = """        for j in range(0, 2):
            a = sram(8, D, bf16)
            fill(a, 0.0)
        for l in range(0, 2):
            b = sram(8, D, bf16)
            c = sram(8, D, bf16)
            fill(b, 0.0)
            fill(c, 0.0)
        for m in range(0, 2):
            d = sram(8, D, bf16)
            e = sram(8, D, bf16)
            f = sram(8, D, bf16)
            fill(d, 0.0)
            fill(e, 0.0)
            fill(f, 0.0)
"""
    assert tiles_of(body) == 3


def test_stages_of_one_loop_do_not_share() -> None:
    body = """        for j in range(0, N, 64):
            with stage(0):
                a = sram(64, D, bf16)
                load(a, x[j : j + 64, :])
                store(y[j : j + 64, :], a)
            with stage(1):
                b = sram(64, D, bf16)
                fill(b, 0.0)
"""
    assert tiles_of(body) == 2
    after = body.replace("for j", "for l").replace("[j : j", "[l : l")
    assert tiles_of(body + after) == 2


def test_sharing_needs_room_for_one_set_only() -> None:
    chip = get_chip("m890")
    rows = chip.acc_bytes // (4 * 128) // 2 + 1  # more than half of ACC

    def body(var: str) -> str:
        return f"""        for {var} in range(0, 2):
            t = acc({rows}, 128)
            fill(t, 0.0)
"""

    assert tiles_of(body("j") + body("l")) == 1
    simulate_program(parse(HEAD + body("j") + body("l")), chip, {"N": 8, "D": 8}, {})
    other = body("l").replace("acc(", "acc(1 + ")
    with pytest.raises(BindError, match="ACC"):
        simulate_program(parse(HEAD + body("j") + other), chip, {"N": 8, "D": 8}, {})


def test_a_load_waits_for_the_last_reader_of_a_shared_slot() -> None:
    branch = """        if N > 0:
            a = sram(64, {columns}, bf16)
            load(a, x[{rows}, :])
            store(y[{rows}, :], a, queue=1)
"""
    first = branch.format(columns="D", rows="0:64")
    starts = []
    for columns in ("D", "D + 0"):
        kernel = parse(HEAD + first + branch.format(columns=columns, rows="64:128"))
        case = {"N": 128, "D": 128}
        trace = simulate_program(kernel, get_chip("m890"), case, {}, trace=True).trace
        assert trace is not None
        # Rows: core, engine, number, dispatch, start, busy end, ready; number 2 is the second load.
        rows = {row[2]: row for row in trace.tolist()}
        starts.append((rows[2][4], rows[1][5], rows[0][5]))
    shared, apart = starts
    assert shared[0] == shared[1]  # when the first store has read the tile
    assert apart[0] == apart[2]  # when the queue is free


def copied(seed: int) -> list[Program]:
    """A generated program with a loop peeled, split or unrolled: alike tiles side by side."""
    program = random_program(seed, 60)
    found = []
    for edit in candidates(program.kernel):
        if edit.name in ("peel_first", "peel_last", "split_loop", "unroll"):
            try:
                kernel = rewrite(program.kernel, edit)
                bind(kernel, program.chip).launch(program.symbols, program.tables)
            except (EditError, BindError):
                continue
            found.append(dataclasses.replace(program, kernel=kernel))
    return found[:2]


def test_engine_and_oracle_agree_on_copied_loops() -> None:
    shared = 0
    for seed in range(40):
        for program in copied(seed):
            declared = sum(isinstance(s, ir.TileDecl) for s in ir.walk(program.kernel.body))
            shared += declared > len(bind(program.kernel, program.chip).tiles)
            assert mismatch(program) == ""
    assert shared >= 5
