"""What runs on a launch: the walk by groups beside a plain walk, item by item."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from m890sim.execute import FloatDomain, execute_kernel
from m890sim.execute.coverage import FALSE, RUNS, TRIPS, TRUE, CoverageWalk, _ExactWalker, _Walker
from m890sim.execute.lanes import Unbatched
from m890sim.execute.scalars import Env, Site
from m890sim.kernel import ir, print_kernel
from m890sim.kernel.printer import print_expr
from m890sim.language import parse
from tests.execute.test_generated import program_of
from tests.execute.texts import kernel_of
from tests.generators import random_inputs

Names = dict[str, int]
Found = set[tuple[int, str, str]]

BRANCHES = kernel_of(
    'x: Tensor["N", 4, f32], z: Tensor["N", 4, f32], t: Table["N"]',
    """
    WIDE = N > 40
    for i in cores(N):
        xt = sram(1, 4, f32)
        load(xt, x[i : i + 1, :])
        for j in range(0, t[i]):
            if j == 1 and i > 0:
                mul(xt, xt, 2.0)
            elif WIDE:
                fill(xt, 0.0)
        store(z[i : i + 1, :], xt)
    """,
)
# Numbers of this kernel may have more than 62 bits as far as bounds can tell.
HUGE = kernel_of(
    'z: Tensor["N", 4, f32], t: Table["N"]',
    """
    for i in cores(N):
        a = t[i] * t[i] * t[i] * t[i] * t[i] * t[i]
        zt = sram(1, 4, f32)
        fill(zt, 1.0)
        if a > 2 * a:
            fill(zt, 2.0)
        store(z[i : i + 1, :], zt)
    """,
)


def said(kernel: ir.Kernel, table: list[int], wanted: Any = None) -> list[str]:
    """What never came about, in words."""
    walk = CoverageWalk(kernel)
    found = walk.reached({"N": len(table)}, {"t": np.array(table)}, {}, wanted)
    missing = walk.goals - found
    return [g.said for g in sorted(missing, key=lambda g: (g.line, g.text, g.kind))]


def test_what_never_came_about_is_named_with_its_line() -> None:
    assert said(BRANCHES, [0]) == [
        "line 6: `N > 40` was never true",
        "line 10: `for j` never made more trips",
        "line 10: `for j` never made one trip",
        "line 11: `i > 0` was never false",
        "line 11: `i > 0` was never true",
        "line 11: `if j == 1 and i > 0` was never false",
        "line 11: `if j == 1 and i > 0` was never true",
        "line 11: `j == 1` was never false",
        "line 11: `j == 1` was never true",
        "line 12: `mul(xt, xt, 2.0)` never ran",
        "line 13: `if WIDE` was never false",
        "line 13: `if WIDE` was never true",
        "line 14: `fill(xt, 0.0)` never ran",
    ]
    assert said(BRANCHES, [0, 1, 2]) == [
        "line 6: `N > 40` was never true",
        "line 11: `i > 0` was never false",
        "line 13: `if WIDE` was never true",
        "line 14: `fill(xt, 0.0)` never ran",
    ]
    assert said(BRANCHES, [0, 1, 2] + 40 * [3]) == [
        "line 6: `N > 40` was never false",
        "line 11: `i > 0` was never false",
        "line 13: `if WIDE` was never false",
    ]


def test_only_what_is_asked_for_is_answered() -> None:
    walk = CoverageWalk(BRANCHES)
    runs = {goal for goal in walk.goals if goal.kind == RUNS}
    launch = ({"N": 3}, {"t": np.array([0, 1, 2])}, {})
    assert {goal.line for goal in walk.reached(*launch, runs)} == {9, 12, 15}
    assert walk.reached(*launch, ()) == set()
    assert walk.reached(*launch) & runs == walk.reached(*launch, runs)


def test_numbers_of_any_size_are_followed() -> None:
    large = [2**30, 5]
    walk = CoverageWalk(HUGE)
    with pytest.raises(Unbatched):
        walk._walk(_walker(_Walker, walk, large), walk.goals)
    assert said(HUGE, large) == [
        "line 10: `if a > 2 * a` was never true",
        "line 11: `fill(zt, 2.0)` never ran",
    ]
    assert said(HUGE, [-(2**30), 5, -3]) == said(HUGE, large)  # an even power


def _walker(kind: type[_Walker], walk: CoverageWalk, table: list[int]) -> _Walker:
    from m890sim.execute.compile import Work
    from m890sim.execute.launch import make_launch
    from m890sim.execute.sample import ShapeDomain
    from m890sim.language import DEFAULT_LIMITS

    shadow: Any = ShapeDomain()
    launch = make_launch(walk._kernel, {"N": len(table)}, {"t": np.array(table)}, {}, {}, shadow)
    return kind(launch, Work(DEFAULT_LIMITS), walk._probes)


# ---- the slow twin -------------------------------------------------------------------------------


def value_of(expr: ir.Expr, names: Names, tables: Mapping[str, Any]) -> int:
    """An expression on Python's integers, through its text."""
    calls = {"min": min, "max": max, "ceil_div": lambda a, b: -(-a // b)}
    return int(eval(print_expr(expr), {"__builtins__": {}}, {**calls, **tables, **names}))


def plain_walk(kernel: ir.Kernel, symbols: Names, tables: Mapping[str, Any]) -> Found:
    """(line, kind, text) of conditions and trips that came about, item by item."""
    found: Found = set()
    names = {**symbols, **kernel.tunables}

    def block(body: tuple[ir.Stmt, ...], names: Names) -> None:
        for stmt in body:
            line = stmt.loc.line
            if isinstance(stmt, ir.Let):
                names[stmt.name] = value_of(stmt.value, names, tables)
            elif isinstance(stmt, ir.If):
                holds = bool(value_of(stmt.condition, names, tables))
                found.add((line, TRUE if holds else FALSE, f"if {print_expr(stmt.condition)}"))
                block(stmt.then if holds else stmt.orelse, dict(names))
            elif isinstance(stmt, ir.Loop):
                ends = (value_of(e, names, tables) for e in (stmt.start, stmt.stop, stmt.step))
                trips = range(*ends)
                found.add((line, TRIPS[min(len(trips), 2)], f"for {stmt.var}"))
                for number in trips:
                    block(stmt.body, {**names, stmt.var: number})
            elif isinstance(stmt, ir.Stage):
                block(stmt.body, dict(names))

    for stmt in kernel.body:
        if isinstance(stmt, ir.Let):
            names[stmt.name] = value_of(stmt.value, names, tables)
        elif isinstance(stmt, ir.Cores):
            extents = [value_of(e, names, tables) for e in stmt.extents]
            for item in itertools.product(*map(range, extents)):
                block(stmt.body, names | dict(zip(stmt.vars, item, strict=True)))
    return found


class Noting(FloatDomain):
    """Floats; notes which instructions run."""

    batches = False

    def __init__(self) -> None:
        super().__init__()
        self.lines: set[int] = set()

    def enter(self, site: Site, env: Env) -> None:
        """The executor runs this instruction next."""
        self.lines.add(site.loc.line)


def launches() -> Iterator[tuple[ir.Kernel, Any]]:
    """Generated programs, with lines of their own."""
    for seed in range(60):
        program = program_of(seed)
        kernel = parse(print_kernel(program.kernel))
        yield (
            kernel,
            (program.symbols, program.tables, program.scalars, random_inputs(program)),
        )


def test_walk_agrees_with_a_plain_walk_and_a_run_on_generated_programs() -> None:
    kinds: set[str] = set()
    for kernel, launch in launches():
        walk = CoverageWalk(kernel)
        symbols, tables, scalars, _ = launch
        actual = walk.reached(symbols, tables, scalars)
        controls = {
            goal
            for goal in actual
            if goal.kind in TRIPS or (goal.kind != RUNS and goal.text.startswith("if "))
        }
        expected = plain_walk(kernel, dict(symbols), tables)
        assert {(goal.line, goal.kind, goal.text) for goal in controls} == expected
        domain = Noting()
        execute_kernel(kernel, *launch, domain=domain)
        assert {goal.line for goal in actual if goal.kind == RUNS} == domain.lines
        kinds |= {goal.kind for goal in actual}
        exact = walk._walk(_exact(walk, symbols, tables, scalars), walk.goals)
        assert exact == actual
    assert kinds == {RUNS, TRUE, FALSE, *TRIPS}


def _exact(walk: CoverageWalk, symbols: Any, tables: Any, scalars: Any) -> _Walker:
    from m890sim.execute.compile import Work
    from m890sim.execute.launch import make_launch
    from m890sim.execute.sample import ShapeDomain
    from m890sim.language import DEFAULT_LIMITS

    shadow: Any = ShapeDomain()
    launch = make_launch(walk._kernel, symbols, tables, scalars, {}, shadow)
    return _ExactWalker(launch, Work(DEFAULT_LIMITS), walk._probes)
