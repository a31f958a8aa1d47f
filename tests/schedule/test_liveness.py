"""Liveness of tiles, held against the accesses of generated programs, element by element."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import indent

import pytest

from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.kernel.transform import header
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.liveness import read_later, uncovered_read, written_before
from m890sim.schedule.core.tree import declaration, sites
from m890sim.schedule.edit import Site
from tests.generators import Program, random_program
from tests.schedule.motion_cases import kernel_of

Elements = frozenset[tuple[int, int]]
SEEDS = range(40)


@dataclass(frozen=True)
class Event:
    """What happens at a site: a tile is declared, an iteration begins, an instruction runs."""

    site: Site
    declared: str = ""
    reads: tuple[tuple[ir.TileRef, Elements], ...] = ()
    writes: tuple[tuple[ir.TileRef, Elements], ...] = ()

    def read(self, tile: str) -> Elements:
        return frozenset().union(*(part for ref, part in self.reads if ref.tile == tile))

    def written(self, tile: str) -> Elements:
        return frozenset().union(*(part for ref, part in self.writes if ref.tile == tile))


def events_of(program: Program) -> list[Event]:
    """All that happens to tiles in the program, item after item."""
    tables, extents = program.tables, {}
    found: list[Event] = []

    def indices(piece: ir.Slice, dim: int, env: dict[str, int]) -> range:
        start, stop, step = (
            default if expr is None else evaluate(expr, env, tables)
            for expr, default in ((piece.start, 0), (piece.stop, dim), (piece.step, 1))
        )
        return range(start, stop, step)

    def elements(ref: ir.TileRef, env: dict[str, int]) -> Elements:
        rows, cols = extents[ref.tile]
        piece = (indices(ref.rows, rows, env), indices(ref.cols, cols, env))
        return frozenset(itertools.product(*piece))

    def instruction(stmt: ir.Instr, site: Site, env: dict[str, int]) -> Event:
        parts = [
            (read, written, value, elements(value, env))
            for _, read, written, value in operand_roles(stmt)
            if isinstance(value, ir.TileRef)
        ]
        reads = tuple((ref, part) for read, _, ref, part in parts if read)
        writes = tuple((ref, part) for _, written, ref, part in parts if written)
        return Event(site, reads=reads, writes=writes)

    def run(body: tuple[ir.Stmt, ...], prefix: Site, first: int, env: dict[str, int]) -> None:
        for place, stmt in enumerate(body, first):
            site = (*prefix, place)
            if isinstance(stmt, ir.Let):
                env = {**env, stmt.name: evaluate(stmt.value, env, tables)}
            elif isinstance(stmt, ir.TileDecl):
                extents[stmt.name] = evaluate(stmt.rows, env), evaluate(stmt.cols, env)
                found.append(Event(site, stmt.name))
            elif isinstance(stmt, ir.Instr):
                found.append(instruction(stmt, site, env))
            elif isinstance(stmt, ir.If):
                if evaluate(stmt.condition, env, tables):
                    run(stmt.then, site, 0, env)
                else:
                    run(stmt.orelse, site, len(stmt.then), env)
            elif isinstance(stmt, ir.Stage):
                run(stmt.body, site, 0, env)
            elif isinstance(stmt, ir.Loop):
                start, stop, step = (evaluate(part, env, tables) for part in header(stmt))
                for value in range(start, stop, step):
                    found.append(Event(site))
                    run(stmt.body, site, 0, {**env, stmt.var: value})
            elif isinstance(stmt, ir.Cores):
                extents_of = [range(evaluate(extent, env, tables)) for extent in stmt.extents]
                for item in itertools.product(*extents_of):
                    run(stmt.body, site, 0, {**env, **dict(zip(stmt.vars, item, strict=True))})

    run(program.kernel.body, (), 0, {**program.symbols, **program.kernel.tunables})
    return found


def sees_earlier(events: list[Event], loop: Site, tile: str) -> bool:
    """Whether an iteration of the loop reads an element that it has not written."""
    written: set[tuple[int, int]] = set()
    for event in events:
        if event.site == loop:
            written = set()
        elif event.site[: len(loop)] == loop:
            if event.read(tile) - written:
                return True
            written |= event.written(tile)
    return False


def sees_old(events: list[Event], site: Site, piece: ir.TileRef) -> bool:
    """Whether an element of a piece is read after the instruction, before it is written again."""
    old: set[tuple[int, int]] = set()
    for event in events:
        if event.declared == piece.tile:
            old = set()
        if event.read(piece.tile) & old:
            return True
        if event.site == site:
            old |= next(part for ref, part in event.reads if ref == piece)
        old -= event.written(piece.tile)
    return False


def finds_unwritten(events: list[Event], site: Site, piece: ir.TileRef) -> bool:
    """Whether an element of a piece that the instruction reads was never written before it."""
    written: set[tuple[int, int]] = set()
    for event in events:
        if event.declared == piece.tile:
            written = set()
        if event.site == site:
            wanted = next(part for ref, part in event.reads if ref == piece)
            if wanted - written:
                return True
        written |= event.written(piece.tile)
    return False


def pieces_read(kernel: ir.Kernel) -> Iterator[tuple[Site, ir.TileRef]]:
    """Every piece of a tile that an instruction reads."""
    for site, stmt in sites(kernel):
        if isinstance(stmt, ir.Instr):
            for _, read, _, value in operand_roles(stmt):
                if read and isinstance(value, ir.TileRef):
                    yield site, value


def tiles_around(kernel: ir.Kernel) -> Iterator[tuple[Site, ir.Loop, ir.TileDecl]]:
    """Every loop, with each tile from outside that its instructions touch."""
    for site, loop in sites(kernel):
        if isinstance(loop, ir.Loop):
            own = {s.name for s in ir.walk(loop.body) if isinstance(s, ir.TileDecl)}
            names = {
                value.tile
                for stmt in ir.walk(loop.body)
                if isinstance(stmt, ir.Instr)
                for *_, value in operand_roles(stmt)
                if isinstance(value, ir.TileRef)
            }
            for name in sorted(names - own):
                yield site, loop, declaration(kernel, site, name)


@pytest.fixture(scope="module")
def programs() -> list[tuple[ir.Kernel, list[Event]]]:
    found = [random_program(9000 + seed, 60) for seed in SEEDS]
    return [(program.kernel, events_of(program)) for program in found]


def test_iteration_that_covers_its_reads_sees_nothing_earlier(
    programs: list[tuple[ir.Kernel, list[Event]]],
) -> None:
    said: Counter[bool] = Counter()
    for kernel, events in programs:
        for site, loop, tile in tiles_around(kernel):
            covered = uncovered_read(tile, loop.body) is None
            said[covered] += 1
            assert not (covered and sees_earlier(events, site, tile.name)), (site, tile.name)
    assert min(said[True], said[False]) > 10


def test_piece_that_is_not_read_later_is_never_seen_again(
    programs: list[tuple[ir.Kernel, list[Event]]],
) -> None:
    said: Counter[bool] = Counter()
    for kernel, events in programs:
        for site, piece in pieces_read(kernel):
            later = read_later(kernel, site, piece)
            said[later] += 1
            assert later or not sees_old(events, site, piece), (site, piece)
    assert min(said[True], said[False]) > 30


def test_piece_that_is_written_before_has_all_its_elements(
    programs: list[tuple[ir.Kernel, list[Event]]],
) -> None:
    said: Counter[bool] = Counter()
    for kernel, events in programs:
        for site, piece in pieces_read(kernel):
            before = written_before(kernel, site, piece)
            said[before] += 1
            assert not (before and finds_unwritten(events, site, piece)), (site, piece)
    assert min(said[True], said[False]) > 10


# What a loop's body does to `a`, a tile of 8 rows; whether it may read what is left from before.
BODIES = {
    "whole": ("fill(a, 0.0)\nadd(b, b, a)", False),
    "part": ("fill(a[:4], 0.0)\nadd(b, b, a)", True),
    "parts": ("fill(a[:4], 0.0)\nfill(a[4:], 0.0)\nadd(b, b, a)", False),
    "gap": ("fill(a[:3], 0.0)\nfill(a[4:], 0.0)\nadd(b, b, a)", True),
    "inside": ("fill(a[2:6], 0.0)\nadd(b[:2], b[:2], a[3:5])", False),
    "columns": ("fill(a[:, :4], 0.0)\nfill(a[:, 4:], 0.0)\nadd(b, b, a)", False),
    "own sum": ("add(a, a, b)", True),
    "one branch": ("if j > 1:\n    fill(a, 0.0)\nadd(b, b, a)", True),
    "branches": (
        "if j > 1:\n    fill(a, 0.0)\nelse:\n    load(a, x[j, :, :])\nadd(b, b, a)",
        False,
    ),
    "branches, less in one": (
        "if j > 1:\n    fill(a, 0.0)\nelse:\n    fill(a[:4], 0.0)\nadd(b, b, a)",
        True,
    ),
    "in a branch": ("if j > 1:\n    fill(a, 0.0)\n    add(b, b, a)", False),
    "in the other branch": ("if j > 1:\n    fill(a, 0.0)\nelse:\n    add(b, b, a)", True),
    "inner loop": ("for k in range(j):\n    fill(a, 0.0)\nadd(b, b, a)", True),
    "in an inner loop": ("fill(a, 0.0)\nfor k in range(j):\n    add(b, b, a)", False),
    "stages": (
        "a = sram(8, 8, bf16, slots=2)\nwith stage(0):\n    fill(a, 0.0)\n"
        "with stage(1):\n    add(b, b, a)",
        False,
    ),
    "a name of two stages": (
        "a = sram(8, 8, bf16, slots=2)\nwith stage(0):\n    n = min(j, 3)\n    fill(a[:n], 0.0)\n"
        "with stage(1):\n    n = min(j, 5)\n    add(b[:n], b[:n], a[:n])",
        True,
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_reads_of_what_is_left_are_found(case: str) -> None:
    text, expected = BODIES[case]
    before = "b = sram(8, 8, bf16)\nfill(b, 1.0)\n"
    if "a = sram" not in text:
        before += "a = sram(8, 8, bf16)\nfill(a, 1.0)\n"
    kernel = kernel_of(f"{before}for j in range(N):\n{indent(text, '    ')}")
    loop = kernel.phases[0].body[-1]
    assert isinstance(loop, ir.Loop)
    tiles = {s.name: s for s in ir.walk(kernel.body) if isinstance(s, ir.TileDecl)}
    assert (uncovered_read(tiles["a"], loop.body) is not None) == expected
