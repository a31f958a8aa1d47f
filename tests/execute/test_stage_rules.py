"""The rules of stages: what breaks one is refused, and mostly would have changed the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from m890sim.errors import LanguageError
from m890sim.kernel import ir
from m890sim.language import check, parse
from tests.execute.broken_stages import BROKEN, unchecked
from tests.execute.naive import Naive, Undefined
from tests.execute.pipelined import Dataflow, Pipelined, PipelinedDataflow, assert_same_dataflow
from tests.execute.texts import randoms
from tests.generators import random_inputs, random_program

PROGRAMS = 60


@pytest.mark.parametrize("name", BROKEN)
def test_broken_stage_rule_is_refused(name: str) -> None:
    code, _, body = BROKEN[name]
    with pytest.raises(LanguageError) as refused:
        parse(unchecked(body)[0])
    assert {d.code for d in refused.value.diagnostics} == {code}


@pytest.mark.parametrize("name", [name for name, row in BROKEN.items() if row[1]])
def test_broken_stage_rule_would_change_the_result(name: str) -> None:
    _, kernel = unchecked(BROKEN[name][2])
    launch = (kernel, {"T": 5}, {}, {}, {"x": randoms((5, 4))})
    expected = Naive(*launch).outputs["y"]
    try:
        actual = Pipelined(*launch).outputs["y"]
    except Undefined:
        return
    rows = [np.where(store.written, store.values, np.nan) for store in (expected, actual)]
    assert not np.array_equal(*rows, equal_nan=True)


def broken_variants(kernel: ir.Kernel) -> Iterator[tuple[str, ir.Kernel]]:
    """The kernel with one slot too few, or with a tile moved out of its loop."""
    for loop in ir.walk(kernel.body):
        if not isinstance(loop, ir.Loop):
            continue
        for tile in loop.body:
            stages = sorted(
                child.index
                for child in loop.body
                if isinstance(child, ir.Stage) and touches(child, tile)
            )
            if isinstance(tile, ir.TileDecl) and len(stages) > 1:
                few = replace(tile, slots=ir.Const(stages[-1] - stages[0]))
                yield "E222", replace(kernel, body=replaced(kernel.body, tile, (few,)))
                bare = replace(loop, body=tuple(child for child in loop.body if child is not tile))
                body = replaced(kernel.body, loop, (tile, bare))
                yield "E221", replace(kernel, body=body)


def touches(stage: ir.Stage, tile: ir.Stmt) -> bool:
    return isinstance(tile, ir.TileDecl) and any(
        isinstance(ref, ir.TileRef) and ref.tile == tile.name
        for stmt in ir.walk(stage.body)
        if isinstance(stmt, ir.Instr)
        for ref in (*stmt.operands, *(value for _, value in stmt.keywords))
    )


def replaced(
    body: tuple[ir.Stmt, ...], victim: ir.Stmt, new: tuple[ir.Stmt, ...]
) -> tuple[ir.Stmt, ...]:
    """The block with `new` where `victim` stood, at any depth."""
    found: list[ir.Stmt] = []
    for stmt in body:
        if stmt is victim:
            found.extend(new)
        elif isinstance(stmt, (ir.Loop, ir.Stage, ir.Cores)):
            found.append(replace(stmt, body=replaced(stmt.body, victim, new)))
        elif isinstance(stmt, ir.If):
            then, orelse = (replaced(part, victim, new) for part in (stmt.then, stmt.orelse))
            found.append(replace(stmt, then=then, orelse=orelse))
        else:
            found.append(stmt)
    return tuple(found)


def test_generated_kernels_that_break_a_rule_are_refused() -> None:
    """One slot fewer than the stages need, or the tile outside the loop: always refused.

    Often for a reason that shows.
    """
    changed = {"E221": 0, "E222": 0}
    for seed in range(PROGRAMS):
        program = random_program(seed)
        rest = (program.symbols, program.tables, program.scalars, random_inputs(program))
        for code, kernel in broken_variants(program.kernel):
            with pytest.raises(LanguageError) as refused:
                check(kernel)
            assert code in {d.code for d in refused.value.diagnostics}, program.describe()
            launch = (kernel, *rest)
            try:
                changed[code] += PipelinedDataflow(*launch).reads != Dataflow(*launch).reads
            except Undefined:
                changed[code] += 1
    assert min(changed.values()) > 8, changed


def test_slots_that_just_suffice_are_accepted() -> None:
    """The remedy that E222 names works."""
    for _, _, body in (row for row in BROKEN.values() if row[0] == "E222"):
        with pytest.raises(LanguageError) as refused:
            parse(unchecked(body)[0])
        (found,) = refused.value.diagnostics
        need = found.message.rsplit("slots=", 1)[1]
        mended = body.replace(", slots=2", "").replace(", slots=3", "")
        mended = mended.replace("f32)", f"f32, slots={need})", 1)
        kernel = parse(unchecked(mended)[0])
        assert_same_dataflow((kernel, {"T": 5}, {}, {}, {"x": randoms((5, 4))}), mended)
