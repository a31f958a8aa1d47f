"""Kernels to edit, what they run on, and what an edit must keep of them."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field
from functools import cache
from textwrap import indent
from typing import Any

import numpy as np

from m890sim.execute import Execution, FloatDomain, execute_kernel
from m890sim.kernel import ir, print_kernel, shapes
from m890sim.kernel.printer import print_head
from m890sim.language import check, parse
from m890sim.schedule import Context, Edit, legal_edits, rewrite
from m890sim.schedule.core.names import companion
from m890sim.schedule.core.pieces import SFU
from m890sim.schedule.core.tree import node, replace, sites
from m890sim.schedule.edit import Site
from m890sim.session import context_of
from m890sim.workloads import KERNELS, AttentionCase, Case, launch_arguments, load_kernel
from tests.execute.test_generated import PlainDomain
from tests.generators import random_inputs, random_program
from tests.level_cases import TINY_LEVELS

# ---- kernels from text ----


def kernel_from(head: str, body: str) -> ir.Kernel:
    """A kernel of a head and the text of its body, which begins in the first column."""
    return parse(head + indent(body.strip("\n") + "\n", "    "))


def site_of(kernel: ir.Kernel, text: str, nth: int = 0) -> Site:
    """The nth statement whose printed line begins with a text."""
    return [site for site, stmt in sites(kernel) if print_head(stmt).startswith(text)][nth]


# ---- runs ----


class RealDomain(FloatDomain):
    """Numbers in float64, never rounded: what rounds in another place gives the same here."""

    def lift(self, name: str, values: Any, dtype: str) -> Any:
        return np.ascontiguousarray(values, np.float64)

    def number(self, value: float) -> Any:
        return np.float64(value)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.empty(shape, np.float64)

    def write(self, target: Any, value: Any, dtype: str | None) -> None:
        target[...] = value

    def put(self, array: Any, rows: Any, value: Any, dtype: str | None) -> None:
        super().put(array, rows, value, None)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return a * b + c


@dataclass(frozen=True)
class Start:
    """A kernel to edit, and a launch of it: symbols, tables, scalars, tensors."""

    name: str
    kernel: ir.Kernel
    launch: tuple[Any, Any, Any, Any]
    context: Context = field(default_factory=Context)

    def run(self, kernel: ir.Kernel, exact: bool) -> Execution:
        """What a kernel makes of the launch, rounded or in real numbers."""
        symbols, *rest = self.launch
        # An edit may add a size, which is then the least.
        sizes = {symbol: symbols.get(symbol, 1) for symbol in kernel.symbols}
        domain = PlainDomain() if exact else RealDomain()
        return execute_kernel(kernel, sizes, *rest, domain=domain)


_RUNS: dict[tuple[str, bool], Execution] = {}


def assert_kept(start: Start, kernel: ir.Kernel, exact: bool, message: str = "") -> None:
    """A kernel passes the check, has a text, and computes what the start does.

    exact: bit by bit; else as in real numbers, where nothing is rounded.
    """
    message = f"{start.name}: {message}\n{print_kernel(kernel)}"
    check(kernel)
    assert parse(print_kernel(kernel)) == kernel, message
    key = (start.name, exact)
    expected = _RUNS[key] = _RUNS.get(key) or start.run(start.kernel, exact)
    actual = start.run(kernel, exact)
    assert_equal(actual, expected, exact, message)


def assert_equal(actual: Execution, expected: Execution, exact: bool, message: str) -> None:
    """Two runs wrote the same elements; their values are the same, or close in real numbers."""
    assert actual.outputs.keys() == expected.outputs.keys(), message
    for name, values in expected.outputs.items():
        np.testing.assert_array_equal(actual.written[name], expected.written[name], message)
        if exact:
            np.testing.assert_array_equal(actual.outputs[name], values, message)
        else:
            np.testing.assert_allclose(actual.outputs[name], values, 1e-6, 1e-9, err_msg=message)


# ---- kernels ----

# The start of a sequence, blocks in part, a sequence without a prefix, several heads a key head.
TINY: dict[str, Case] = {
    "extend": AttentionCase("tiny", "extend", (5, 0, 130), (3, 4, 70), 4, 2, 8, 2, True),
    "decode": AttentionCase("tiny", "decode", (5, 1, 140), (1, 1, 1), 4, 2, 8, 4, True),
    **TINY_LEVELS,
}
HEAD = """from m890sim.lang import *


@kernel
def small(
    x: Tensor["N", 8, f32],
    w: Tensor[8, 8],
    q: Tensor["N", 6, 8],
    o: Tensor["N", 8, f32],
    e: Tensor["N", 6, 8],
):
"""
LOADED = """
for i in cores(1):
    s = sram(N, 8, f32)
    t = sram(N, 8, f32)
    u = sram(N, 8, f32)
    h = sram(N, 8, bf16)
    g = sram(N, 8, bf16)
    m = sram(N, 1, f32)
    wt = sram(8, 8, bf16)
    y = acc(N, 8)
    z = acc(N, 8)
    load(s, x[:, :])
    load(wt, w[:, :])
    copy(h, s)
    exp(g, s, row_sum=m)
    fill(z, 0.0)
    BODY
    store(o[:, :], t)
"""
NEST = """
for one in cores(1):
    for a in range(N):
        for b in range(0, 6, 2):
            t = sram(2, 8, bf16)
            load(t, q[a, b : b + 2, :])
            store(e[a, b : b + 2, :], t)
for two in cores(1):
    for a in range(N):
        for b in range(8):
            t = sram(1, 1, f32)
            load(t, x[a : a + 1, b : b + 1])
            store(o[a : a + 1, b : b + 1], t)
"""
# Kernels with places for an edit for which few others have some.
EXAMPLES = {
    "accumulate": """
    matmul(y, h, wt)
    add(z, z, y)
    matmul(y, g, wt)
    add(z, y, z)
    matmul(y, h, wt)
    add(z, z, y)
    copy(t, z)
""",
    "drop_copy": """
    copy(u, s)
    u_2 = sram(N, 8, f32)
    copy(u_2, s)
    add(t, u, u_2)
    u_3 = sram(N, 8, f32)
    copy(u_3, t)
    mul(u_2, u_3, 2.0)
    copy(t, u_2)
""",
    "fuse_scale": """
    mul(t, s, 2.0)
    exp(t, t)
    mul(u, m, s)
    tanh(u, u, bias=1.0)
    add(t, t, u)
""",
    "cse": """
    mul(t, s, 2.0)
    u_2 = sram(N, 8, f32)
    mul(u_2, s, 2.0)
    u_3 = sram(N, 8, f32)
    mul(u_3, s, 2.0)
    add(u, u_2, u_3)
    add(t, t, u)
""",
    "fuse_add": """
    add(u, m, s)
    exp(t, u, scale=0.5)
    add(u, s, 2.0)
    tanh(u, u)
    add(t, t, u)
""",
    "fuse_mul_mul": """
    mul(t, s, 3.0)
    mul(t, t, LOG2E)
    mul(u, t, 0.5)
    mul(t, u, -1.0)
""",
    "scale_operand": """
    for j in range(2):
        matmul(y, h, wt)
        mul(y, y, 0.5)
        add(z, z, y)
        matmul(y, g, wt)
        mul(y, y, -2.0)
        add(z, z, y)
    copy(t, z)
""",
    "normalise_last": """
    div(g, g, m)
    matmul(y, g, wt)
    mul(h, h, m)
    matmul(z, h, wt, accumulate=True)
    add(t, y, z)
""",
    "interchange": NEST,
}


def unfused(kernel: ir.Kernel, rng: random.Random) -> ir.Kernel:
    """The kernel with scales, biases and row sums of SFU instructions as instructions of their own.

    At times what the edits must refuse stands behind: another reader of the intermediate tile.
    """
    places = [s for s, stmt in sites(kernel) if isinstance(stmt, ir.Instr) and stmt.op in SFU]
    for site in reversed(places):
        stmt = node(kernel, site)
        assert isinstance(stmt, ir.Instr)
        target, source = stmt.operands
        assert isinstance(target, ir.TileRef)
        decl, tile = companion(kernel, site, target, "part", rng.choice(("f32", "f32", "bf16")))
        added: list[ir.Stmt] = [decl]
        keywords = dict(stmt.keywords)
        for name, op in (("scale", "mul"), ("bias", rng.choice(("add", "sub")))):
            value = keywords.pop(name, None)
            if value is not None and (name == "scale" or rng.random() < 0.8):
                added.append(shapes.instruction(op, (tile, source, value)))  # type: ignore[list-item]
                source = tile
            elif value is not None:
                keywords[name] = value
        total = keywords.pop("row_sum", None)
        added.append(shapes.instruction(stmt.op, (target, source), keywords))
        if rng.random() < 0.3:
            added.append(ir.Instr("fence"))
        if total is not None:
            added.append(shapes.instruction("row_sum", (total, target)))  # type: ignore[list-item]
        if source == tile and rng.random() < 0.2:
            added.append(shapes.instruction("add", (tile, tile, ir.Const(1.0))))
        kernel = replace(kernel, site, *added)
    return kernel


SEEDS = range(10)
STARTS = (
    *EXAMPLES,
    *(f"{kind} {seed}" for seed in SEEDS for kind in ("generated", "unfused")),
    *KERNELS,
)
STEPS = 3  # of a walk


@cache
def start_of(name: str) -> Start:
    """The start of a name of STARTS."""
    if name in EXAMPLES:
        body = LOADED.replace("    BODY\n", EXAMPLES[name].lstrip("\n"))
        kernel = kernel_from(HEAD, NEST if EXAMPLES[name] is NEST else body)
        values = np.random.default_rng(0).standard_normal
        tensors = {"x": values((7, 8)), "w": values((8, 8)), "q": values((7, 6, 8))}
        return Start(name, kernel, ({"N": 7}, {}, {}, tensors))
    if name in KERNELS:
        kernel, task = load_kernel(name), KERNELS[name].task
        launch = launch_arguments(kernel, TINY[task], TINY[task].make_inputs(1))
        return Start(name, kernel, launch, context_of(task))
    kind, seed = name.split()
    program = random_program(int(seed))
    kernel = program.kernel
    if kind == "unfused":
        kernel = unfused(kernel, random.Random(seed))
    launch = (program.symbols, program.tables, program.scalars, random_inputs(program))
    return Start(name, kernel, launch, Context(queues=program.chip.dma_queues))


@cache
def walk_from(name: str) -> tuple[Start, ...]:
    """A start, and what random edits, one upon the other, make of its kernel."""
    found, rng = [start_of(name)], random.Random(name)
    for step in range(STEPS):
        kernel, context = found[-1].kernel, found[-1].context
        kinds: dict[str, list[Edit]] = {}
        for edit in legal_edits(kernel, context):
            kinds.setdefault(edit.name, []).append(edit)
        edit = rng.choice(kinds[rng.choice(sorted(kinds))])
        kernel = rewrite(kernel, edit, context)
        found.append(dataclasses.replace(found[-1], name=f"{name}, step {step}", kernel=kernel))
    return tuple(found)
