"""The observation says what it is documented to say."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m890_envs import KernelEditEnv
from m890_envs.features import rounded
from m890_envs.fields import (
    CASE,
    CHIP,
    OPERATIONS,
    PROFILE,
    PROFILE_ENGINES,
    PROGRAM,
    STATEMENTS,
    TUNABLES,
)
from m890_envs.manual import renew
from m890_envs.program import program_features
from m890sim.chip import get_chip
from m890sim.kernel import ir
from m890sim.workloads import get_task, load_kernel, simulate
from tests.envs.walks import QUICK

Make = Callable[..., KernelEditEnv]
MANUAL = Path(__file__).resolve().parents[2] / "docs" / "environments.md"
COLUMN = {field.name: number for number, field in enumerate(PROGRAM)}


def program(kernel: str, case: str) -> tuple[ir.Kernel, Any]:
    """A kernel of task extend, and its rows."""
    found = load_kernel(kernel)
    chip, shape = get_chip("m890"), get_task("extend").case(case)
    timing = simulate(found, shape, chip, trace=True)
    rows = program_features(found, shape, chip, timing)
    return found, rows


def test_tables_of_the_manual_are_fresh(golden: Callable[[Path, str], None]) -> None:
    golden(MANUAL, renew(MANUAL.read_text("utf-8")))


def test_columns_have_names_of_their_own() -> None:
    for fields in (PROGRAM, PROFILE, CHIP, CASE):
        assert len({field.name for field in fields}) == len(fields)
        assert all(field.text and field.unit for field in fields)


def test_program_has_one_row_a_statement() -> None:
    kernel, rows = program("attention_reference", "prefill-256")
    statements = list(ir.walk(kernel.body))
    assert rows.shape == (len(statements) + 1, len(PROGRAM)) and rows.dtype == np.float32
    assert rows[0, COLUMN["statement"]] == 1
    kinds = rows[1 : len(statements) + 1, COLUMN["statement"]]
    assert kinds.tolist() == [STATEMENTS[type(stmt)] for stmt in statements]
    for row, stmt in zip(rows[1:], statements, strict=False):
        if isinstance(stmt, ir.Instr):
            assert row[COLUMN["operation"]] == OPERATIONS[stmt.op]
        if isinstance(stmt, ir.TileDecl) and isinstance(stmt.slots, ir.Const):
            assert row[COLUMN["slots"]] == stmt.slots.value


def test_statements_beyond_the_sites_are_left_out(make: Make) -> None:
    _, rows = program("attention_reference", "prefill-256")
    chosen = {"cases": ("prefill-256",), "start": "attention_reference", "verify": "never"}
    for sites in (20, len(rows) + 5):
        shown = make("M890/KernelEdit-v0", sites=sites, **chosen).reset()[0]["program"]
        assert shown.shape == (sites, len(PROGRAM))
        assert np.array_equal(shown[: len(rows)], rows[:sites])
        assert not shown[len(rows) :].any()


def test_fields_of_known_statements() -> None:
    kernel, rows = program("attention_2_queues", "prefill-256")
    statements = list(ir.walk(kernel.body))
    found = dict(zip((id(stmt) for stmt in statements), rows[1:], strict=False))
    tile = next(s for s in statements if isinstance(s, ir.TileDecl) and s.name == "kt")
    row = found[id(tile)]
    shape = [row[COLUMN[name]] for name in ("rows", "columns", "dtype")]
    assert shape == [rounded(math.log2(65)), rounded(math.log2(65)), 2]
    load = next(
        s
        for s in statements
        if isinstance(s, ir.Instr) and s.op == "load" and s.operands[0].tile == "kt"  # type: ignore[union-attr]
    )
    row = found[id(load)]
    assert row[COLUMN["tile"]] == found[id(tile)][COLUMN["tile"]]
    queue = load.keyword("queue")
    assert row[COLUMN["queue"]] == 1 + (queue.value if isinstance(queue, ir.Const) else 0)
    assert row[COLUMN["engine"]] == 1 and row[COLUMN["depth"]] == 2


@pytest.mark.parametrize("kernel", ["attention_reference", "attention_expert"])
@pytest.mark.parametrize("case", ["prefill-256", "extend-ragged"])
def test_cycles_add_up(kernel: str, case: str) -> None:
    _, rows = program(kernel, case)
    timing = simulate(load_kernel(kernel), get_task("extend").case(case), trace=True)
    assert timing.trace is not None
    core = timing.trace[timing.trace[:, 6].argmax(), 0]
    own = timing.trace[timing.trace[:, 0] == core]
    whole = rows[0]
    busy = (own[:, 5] - own[:, 4]).sum() / timing.cycles
    assert whole[COLUMN["busy"]] == pytest.approx(busy, rel=1e-5)
    # Under way at any time: the shares add up to the time in which anything is.
    times = np.zeros(timing.cycles + 1, dtype=np.int64)
    np.add.at(times, own[:, 4], 1)
    np.add.at(times, np.maximum(own[:, 5], own[:, 6]), -1)
    alive = (np.cumsum(times) > 0).sum() / timing.cycles
    assert whole[COLUMN["share"]] == pytest.approx(alive, rel=1e-3)
    assert whole[COLUMN["share"]] <= 1
    instructions = rows[:, 0] == STATEMENTS[ir.Instr]
    if len(list(ir.walk(load_kernel(kernel).body))) < 128:
        sums = rows[instructions][:, COLUMN["share"]].sum()
        assert sums == pytest.approx(whole[COLUMN["share"]], rel=1e-4)


def test_fence_after_each_step_makes_loads_the_hottest() -> None:
    kernel, rows = program("attention_reference", "prefill-256")
    hottest = int(rows[:, COLUMN["share"]][rows[:, 0] == 5].argmax())
    names = [s.op for s in ir.walk(kernel.body) if isinstance(s, ir.Instr)]
    assert names[hottest] == "load"


@pytest.mark.parametrize("name", ["M890/Prefill-v1", "M890/AttentionHeadMini-v1"])
def test_profile_adds_up_for_every_engine_of_the_chip(make: Make, name: str) -> None:
    env = make(name, **QUICK.get(name, {}))
    profile = env.reset()[0]["profile"]
    assert profile.shape == (len(PROFILE_ENGINES), len(PROFILE))
    queues = env.session.chip.dma_queues
    expected = [1.0] * queues + [0.0] * (4 - queues) + [1.0] * 3
    assert profile.sum(axis=1).tolist() == pytest.approx(expected, abs=1e-5)


def test_case_holds_the_yardsticks_and_symbols(make: Make) -> None:
    env = make("M890/Matmul-v1")
    observation, info = env.reset()
    case = observation["case"]
    session = env.session
    for row, found, cycles in zip(case, session.log[0].cases, info["cycles"], strict=True):
        assert row[0] == rounded(math.log2(found.reference_cycles))
        assert row[1] == rounded(math.log2(found.lower_bound_cycles))
        assert row[2] == rounded(math.log2(found.reference_cycles / cycles)) and row[3] == 1
    symbols = session.cases[0].symbols
    expected = [rounded(math.log2(1 + symbols[name])) for name in sorted(symbols)]
    assert case[0, len(CASE) :].tolist() == expected


def test_progress_counts_down(make: Make) -> None:
    env = make("M890/Matmul-v1", horizon=4, budget=8)
    observation, _ = env.reset()
    assert observation["progress"].tolist() == [0, 0, 1, 7 / 8, 1]
    observation = env.step(env.action_space.n - 1)[0]
    assert observation["progress"].tolist() == [0, 0, 1, 7 / 8, 3 / 4]


def test_tunables_and_chip_are_logarithms(make: Make) -> None:
    env = make("M890/Prefill-v1", verify="never")
    observation, _ = env.reset()
    values = list(env.session.kernel.tunables.values())
    expected = [rounded(math.log2(1 + value)) for value in values]
    assert observation["tunables"].tolist() == expected + [0] * (TUNABLES - len(values))
    cores = [field.name for field in CHIP].index("cores")
    assert observation["chip"][cores] == rounded(math.log2(17))
