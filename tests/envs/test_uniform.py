"""Observations of one set of shapes: they say what a policy needs, for any task, cases and chip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from m890_envs import GRAPH, MACRO, KernelEditEnv, operands
from m890_envs.features import log_size
from m890_envs.fields import (
    CASE,
    CONTAINS,
    EDGE,
    FLOWS,
    FOLLOWS,
    KIND,
    MOST_CASES,
    NODE,
    PROGRAM,
    READ_BY,
    STATEMENT_KINDS,
    TENSOR,
    TENSOR_NODE,
    UNIFORM_CASE,
    UNIFORM_CHIP,
    UNIFORM_PROGRAM,
    WRITES,
)
from m890_envs.graph import graph_arrays
from m890_envs.operands import OperandTable
from m890_envs.program import program_features
from m890_envs.uniform import case_rows, program_rows, tensor_rows
from m890sim.chip import get_chip
from m890sim.errors import M890Error
from m890sim.kernel import ir
from m890sim.language import parse
from m890sim.schedule import EditError
from m890sim.schedule.macros import MACROS
from m890sim.workloads import get_task, load_kernel
from tests.envs.walks import QUICK, walk

Make = Callable[..., KernelEditEnv]
COLUMN = {field.name: number for number, field in enumerate(UNIFORM_PROGRAM)}
HAND = """from m890sim.lang import *


@kernel
def k(x: Tensor["R", 64], t: Table["R"], out: Tensor["R", 64, f32], BR: Tunable = 16):
    part = hbm(R, 2, 64, f32)
    for i, j in cores(ceil_div(R, BR), 2, order="cyclic"):
        a = sram(BR, 64, bf16)
        b = sram(BR, 64, bf16)
        c = acc(BR, BR)
        d = sram(BR, 64, f32)
        for r in range(i * BR + 8, i * BR + 16):
            load(a[:8], x[r : r + 8, :])
            fill(b[4:8], 1.0)
            fma(d[2:6], a[:4], b[4:8], a[8:12])
            matmul(c, a, b.T)
            copy(d[:, 48:], c)
            store(part[r : r + 8, j, :], d[:8])
"""


class Toy:
    """A case of 128 rows."""

    symbols = {"R": 128}
    tables: dict[str, Any] = {}


def hand() -> tuple[ir.Kernel, OperandTable]:
    kernel = parse(HAND)
    return kernel, OperandTable(kernel, Toy())  # type: ignore[arg-type]


def own(kernel: ir.Kernel) -> Any:
    return program_features(kernel, Toy(), get_chip("m890"), None)  # type: ignore[arg-type]


def test_shapes_are_the_same_for_every_id(make: Make) -> None:
    for ids in (MACRO, GRAPH):
        found = {repr(make(name).observation_space) + repr(make(name).action_space) for name in ids}
        assert len(found) == 1


@pytest.mark.parametrize("observation", ["uniform", "graph"])
def test_shapes_are_the_same_for_other_cases_and_chips(make: Make, observation: str) -> None:
    first = make("M890/KernelEdit-v0", actions="macro", observation=observation)
    other = make(
        "M890/KernelEdit-v0",
        task="matmul",
        cases=["matmul-200x160x384"],
        chip="m890-mini",
        actions="macro",
        observation=observation,
    )
    assert first.observation_space == other.observation_space
    assert first.action_space == other.action_space and other.action_space.n == 1 + len(MACROS)
    assert other.observation_space.contains(other.reset()[0])


def test_pieces_of_known_operands() -> None:
    _, operands = hand()
    found = {(o.row, o.position): (o.tile, o.tensor, o.piece) for o in operands.operands}
    # Rows: 1 part, 2 cores, 3 a, 4 b, 5 c, 6 d, 7 loop, then its instructions.
    assert found == {
        (8, 0): (3, None, (0, 8, 0, 64)),
        (8, 1): (None, 0, (8, 8, 0, 64)),
        (9, 0): (4, None, (4, 4, 0, 64)),
        (10, 0): (6, None, (2, 4, 0, 64)),
        (10, 1): (3, None, (0, 4, 0, 64)),
        (10, 2): (4, None, (4, 4, 0, 64)),
        (10, 3): (3, None, (8, 4, 0, 64)),
        (11, 0): (5, None, (0, 16, 0, 16)),
        (11, 1): (3, None, (0, 16, 0, 64)),
        (11, 2): (4, None, (0, 16, 0, 64)),
        (12, 0): (6, None, (0, 16, 48, 16)),
        (12, 1): (5, None, (0, 16, 0, 16)),
        (13, 0): (None, 2, (8, 8, 0, 64)),
        (13, 1): (6, None, (0, 8, 0, 64)),
    }
    assert [(o.row, o.position) for o in operands.operands if o.transposed] == [(11, 2)]
    assert operands.parents == [0, 0, 0, 2, 2, 2, 2, 2, 7, 7, 7, 7, 7, 7]
    assert operands.before == [0, 0, 1, 0, 3, 4, 5, 6, 0, 8, 9, 10, 11, 12]
    assert [(t.name, t.dims, t.row) for t in operands.tensors] == [
        ("x", (128, 64), None),
        ("out", (128, 64), None),
        ("part", (128, 2, 64), 1),
    ]


@pytest.mark.parametrize("name", ["M890/MatmulMacro-v0", "M890/DecodeMacro-v0"])
def test_remembered_pieces_are_those_of_a_first_look(make: Make, name: str) -> None:
    env = make(name, **QUICK.get(name, {}))
    steps = walk(env, 5, 12)
    next(steps)  # the reset
    session = env.session  # its copies of kernels share what the kernels share
    kernels = [session.kernel for _ in steps]
    assert len({id(kernel) for kernel in kernels}) > 8
    pairs = [(kernel, case) for kernel in kernels for case in session.cases[:2]]
    operands.KNOWN.clear()
    found = [OperandTable(*pair).operands for pair in pairs]
    for pair, remembered in zip(pairs, found, strict=True):
        operands.KNOWN.clear()
        assert OperandTable(*pair).operands == remembered


def test_program_shows_parents_third_reads_and_slices() -> None:
    kernel, operands = hand()
    rows = program_rows(own(kernel), operands, 32)
    assert rows.shape == (14, len(UNIFORM_PROGRAM))
    assert np.array_equal(program_rows(own(kernel), operands, 6), rows[:6])
    fma = rows[10]
    tiles = [fma[COLUMN[name]] for name in ("first_read", "second_read", "third_read")]
    assert tiles == [rows[n][COLUMN["tile"]] for n in (3, 4, 3)]
    assert fma[COLUMN["parent"]] == 7
    written = [fma[COLUMN[f"written_{name}"]] for name in ("first_row", "rows", "columns")]
    assert written == [log_size(2), log_size(4), log_size(64)]
    assert fma[COLUMN["third_read_first_row"]] == log_size(8)
    assert rows[12][COLUMN["written_first_column"]] == log_size(48)
    assert rows[11][COLUMN["transposed"]] == 2
    assert [rows[n][COLUMN["tensor"]] for n in (1, 8, 13)] == [3, 1, 3]
    assert np.array_equal(rows[:, : len(PROGRAM)], own(kernel))


def test_tensors_are_parameters_then_scratch() -> None:
    rows = tensor_rows(hand()[1])
    assert rows.shape[1] == len(TENSOR)
    assert rows[:4, :3].tolist() == [[1, 0, 2], [1, 0, 4], [1, 1, 4], [0, 0, 0]]
    assert rows[2, 3:].tolist() == [0, log_size(128), log_size(2), log_size(64)]


def test_kinds_add_up(make: Make) -> None:
    env = make("M890/PrefillMacro-v0", verify="never")
    seen = env.reset()[0]
    kinds = dict(zip(STATEMENT_KINDS, seen["kinds"], strict=True))
    rows = seen["program"]
    loads = rows[(rows[:, 1] == 1) & (rows[:, 0] == 5)]
    assert kinds["load"][0] == log_size(len(loads)) and seen["kinds"].shape[1] == len(KIND)
    assert kinds["load"][1] == pytest.approx(loads[:, COLUMN["share"]].sum(), rel=1e-6)
    around = kinds["within an innermost loop"][1:] + kinds["elsewhere"][1:]
    instructions = rows[rows[:, 0] == 5][:, [COLUMN[n] for n in ("share", "busy", "idle")]]
    assert (around >= instructions.sum(axis=0) - 1e-4).all()


def test_cases_are_padded_and_summed_up() -> None:
    task = get_task("extend")
    many = tuple(task.cases) * 4
    rows = case_rows(many, [1000] * len(many), [100] * len(many))
    assert rows.shape == (1 + MOST_CASES, len(UNIFORM_CASE)) and rows[1:, 0].all()
    few = case_rows(task.cases[:2], [1000, 4000], [100, 400])
    assert few[:, 0].tolist() == [1, 1, 1] + [0] * (MOST_CASES - 2) and not few[3:].any()
    assert few[0].tolist() == pytest.approx(few[1:3].mean(axis=0).tolist(), rel=1e-6)
    symbols = task.cases[0].symbols
    expected = [log_size(symbols[name]) for name in sorted(symbols)]
    assert few[1, len(UNIFORM_CASE) - 12 :][: len(symbols)].tolist() == expected


def test_case_rows_follow_the_kernel(make: Make) -> None:
    env = make("M890/MatmulMacro-v0")
    *_, (_, found) = walk(env, 3, 4)
    case, info = found[0]["case"], found[4]
    speedups = [entry.speedup for entry in env.session.log[-1].cases]
    assert case.shape[0] == 1 + MOST_CASES and len(speedups) == 2
    timed = [field.name for field in UNIFORM_CASE].index("timed")
    assert case[1:3, timed].tolist() == [float(c >= 0) for c in info["cycles"]]
    assert case[0, timed - 1] == pytest.approx(case[1:3, timed - 1].mean())
    assert [field.name for field in UNIFORM_CASE[1 : 1 + len(CASE)]] == [f.name for f in CASE]
    assert found[0]["chip"].shape == (len(UNIFORM_CHIP),)


def test_graph_by_hand() -> None:
    kernel, operands = hand()
    found = graph_arrays(own(kernel), operands, 20)
    shown, count, total = found["counts"].tolist()
    assert shown == total == 16 and found["nodes"].shape == (16, len(NODE))
    assert found["nodes"][14:16, 0].tolist() == [TENSOR_NODE] * 2
    edges = found["edges"][:, :count].T.tolist()
    kinds = found["edge_features"][:count, 0].tolist()
    assert found["edges"].shape == (2, count) and found["edge_features"].shape == (count, len(EDGE))
    by_kind = {
        kind: sorted((a, b) for (a, b), own in zip(edges, kinds, strict=True) if own == kind)
        for kind in (CONTAINS, FOLLOWS, WRITES, READ_BY, FLOWS)
    }
    blocks = {0: (1, 2), 2: (3, 4, 5, 6, 7), 7: (8, 9, 10, 11, 12, 13)}
    assert by_kind[CONTAINS] == [(a, b) for a, inside in blocks.items() for b in inside]
    assert by_kind[FOLLOWS] == [(1, 2), *((n, n + 1) for n in (3, 4, 5, 6, 8, 9, 10, 11, 12))]
    assert by_kind[WRITES] == [(8, 3), (9, 4), (10, 6), (11, 5), (12, 6), (13, 1)]
    reads = [(3, 10), (3, 10), (3, 11), (4, 10), (4, 11), (5, 12), (6, 13), (14, 8)]
    assert by_kind[READ_BY] == reads
    assert by_kind[FLOWS] == [(8, 10), (8, 10), (8, 11), (9, 10), (9, 11), (11, 12), (12, 13)]
    names = [field.name for field in EDGE]
    (edge,) = [n for n, pair in enumerate(edges) if pair == [4, 11]]
    assert found["edge_features"][edge, names.index("transposed")] == 1
    assert found["edge_features"][edge, names.index("position")] == 2


def test_arrays_are_padded_with_zeros(make: Make) -> None:
    for name in ("M890/MatmulGraph-v0", "M890/MatmulMacro-v0", "M890/Matmul-v1"):
        env = make(name)
        seen = env.reset()[0]
        assert all(seen[key].shape == env.observation_space[key].shape for key in seen)
        rows = seen["nodes" if "Graph" in name else "program"]
        assert rows[20].any() and not rows[32:].any()
        if "counts" in seen:
            edges = seen["counts"][1]
            assert seen["edge_features"][edges - 1].any() and not seen["edges"][:, edges:].any()


def test_graph_without_room_leaves_out_and_says_so() -> None:
    kernel, operands = hand()
    found = graph_arrays(own(kernel), operands, 5)
    shown, count, total = found["counts"].tolist()
    assert (shown, total) == (5, 16) and count and found["edges"][:, :count].max() < 5


@pytest.mark.parametrize("name", ["M890/RowSoftmaxMacro-v0", "M890/AttentionHeadMiniMacro-v0"])
def test_macro_is_legal_exactly_where_it_changes_the_kernel(make: Make, name: str) -> None:
    env = make(name, verify="never")
    for count, (_, (_, _, _, _, info)) in enumerate(walk(env, 5, 9)):
        if count % 8:
            continue
        for action in range(1, env.action_space.n):
            trial = env.clone()._session
            try:
                made = trial.perform(action, env._choices.most)
            except EditError:
                made = ()
            assert bool(made) == info["action_mask"][action], MACROS[action - 1]


def test_macro_and_its_number_translate(make: Make) -> None:
    env = make("M890/VectorAddMacro-v0")
    env.reset()
    assert env.edit_of(0) is None
    numbers = list(range(1, env.action_space.n))
    assert [env.action_of(env.edit_of(n)) for n in numbers] == numbers  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="with actions='macro' an action is of a Macro, not"):
        env.action_of(env.session.legal_edits()[0])
    env.step(env.action_space.n - 1)
    illegal = int(np.flatnonzero(env.action_masks() == 0)[0])
    info = env.step(illegal)[4]
    assert info["illegal"] == 1 and info["why"]


def test_macro_costs_one_evaluation(make: Make) -> None:
    env = make("M890/VectorAddMacro-v0")
    _, info = env.reset()
    action = 1 + next(n for n, m in enumerate(MACROS) if m.name == "remove_fence")
    info = env.step(action)[4]
    assert info["evaluations"] == 2 and len(env.session.edits) == 7


@pytest.mark.parametrize("name", ["M890/ExtendGraph-v0", "M890/MatmulGraph-v0"])
def test_every_legal_edit_has_an_action(make: Make, name: str) -> None:
    env = make(name, **QUICK.get(name, {}))
    for _, (_, _, _, _, info) in walk(env, 3, 6):
        legal = env.session.legal_edits()
        actions = {env.action_of(edit) for edit in legal}
        assert None not in actions and len(actions) == len(legal)
        assert {int(n) for n in np.flatnonzero(info["action_mask"])[1:]} == actions


def test_no_edit_puts_a_statement_out_of_reach(make: Make) -> None:
    """Near the limit, an edit is legal exactly where the kernel after it is within reach."""
    most = sum(1 for _ in ir.walk(load_kernel("matmul_reference").body))
    env = make("M890/MatmulGraph-v0", sites=most + 4, verify="never")
    _, info = env.reset()
    refused = 0
    for edit in env.session.legal_edits():
        trial = env.session.clone()
        count = sum(1 for _ in ir.walk(trial.apply(edit).body))
        action = env.action_of(edit)
        assert action is not None and info["action_mask"][action] == (count < most + 4)
        if count >= most + 4:
            refused += 1
            found = env.clone().step(action)[4]
            assert found["illegal"] and f"the kernel has {count} statements" in found["why"]
    assert refused


def test_macros_make_no_kernel_longer_than_said(make: Make) -> None:
    for arguments, most in (({}, 60), ({"statements": 30}, 30), ({"sites": 40}, 39)):
        env = make("M890/MatmulMacro-v0", verify="never", **arguments)
        _, info = env.reset()
        longest = 0
        for name in ("unroll", "split_transfer", "peel_first", "peel_last", "unroll") * 3:
            action = next(n for n, macro in enumerate(MACROS, 1) if macro.name == name)
            if info["action_mask"][action]:
                info = env.step(action)[4]
            longest = max(longest, sum(1 for _ in ir.walk(env.session.kernel.body)))
        assert most - 8 <= longest <= most


def test_statements_are_for_macros(make: Make) -> None:
    with pytest.raises(ValueError, match="statements= is for actions='macro'"):
        make("M890/Matmul-v1", statements=30)


def test_start_that_is_out_of_reach_is_refused(make: Make) -> None:
    with pytest.raises(M890Error, match="has 24 statements, sites=20 has room for 19"):
        make("M890/MatmulGraph-v0", sites=20)
    env = make("M890/MatmulGraph-v0", sites=27)
    with pytest.raises(M890Error, match="has 28 statements, sites=27 has room for 26"):
        env.reset(options={"start": "matmul_expert"})
    env.reset()
