"""The language manual: every kernel in it is right, and printed as the printer would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m890sim.chip import get_chip
from m890sim.execute import run_kernel
from m890sim.isa import OPS
from m890sim.kernel import print_kernel
from m890sim.language import parse
from m890sim.timing import simulate_program

Array = Any
MANUAL = Path(__file__).resolve().parents[2] / "docs" / "language.md"
KERNELS = re.findall(r"```python\n(.*?)```", MANUAL.read_text("utf-8"), re.S)


@pytest.mark.parametrize("text", KERNELS, ids=lambda text: re.search(r"def (\w+)", text)[1])
def test_kernel_of_the_manual_is_right(text: str) -> None:
    assert print_kernel(parse(text)) == text


def test_manual_has_its_tables_and_kernels() -> None:
    text = MANUAL.read_text("utf-8")
    assert "<!-- generated: isa -->" in text and "<!-- generated: codes -->" in text
    assert len(KERNELS) >= 4


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


X, CACHE, W = normal(300, 48), normal(70, 6, 16), normal(600, 128)
ORDER = np.random.default_rng(1).permutation(70)
SMALL = normal(64, 128)


def scattered() -> Array:
    found = np.full((320, 48), np.nan)
    found[ROWS] = X
    return found


ROWS = np.random.default_rng(2).permutation(320)[:300]
# Kernel -> symbols, tables, scalars, tensors, and its outputs as numpy has them.
Launch = tuple[dict[str, int], dict[str, Array], dict[str, float], dict[str, Array]]
RUNS: dict[str, tuple[Launch, dict[str, Any]]] = {
    "scaled_relu": (
        ({"T": 300, "D": 48}, {}, {"scale": 0.5}, {"x": X}),
        {"o": np.maximum(0.5 * X, 0)},
    ),
    "column_sums": (({"T": 300, "D": 48}, {}, {}, {"x": X}), {"o": X.sum(0, keepdims=True)}),
    "page_lengths": (
        ({"S": 70, "H": 6, "D": 16, "N": 70}, {"indices": ORDER}, {}, {"cache": CACHE}),
        {"o": CACHE[ORDER]},
    ),
    "project": (
        ({"T": 300, "D": 600}, {}, {}, {"x": normal(300, 600), "w": W}),
        {"o": normal(300, 600) @ W},
    ),
    "scatter_rows": (
        ({"N": 300, "D": 48, "S": 320}, {"slots": ROWS}, {}, {"x": X}),
        {"o": scattered()},
    ),
    "pieces": (
        ({}, {}, {}, {"x": SMALL}),
        {
            "p": SMALL[::2] + SMALL[1::2],
            "o": np.vstack([np.zeros((1, 128)), SMALL[:63] / SMALL.max()]),
        },
    ),
    "ring": (({"T": 256}, {}, {}, {"x": normal(256, 256)}), {"o": 2 * normal(256, 256)}),
    "two_slots": (({"T": 256}, {}, {}, {"x": normal(256, 256)}), {"o": 2 * normal(256, 256)}),
}


def name_of(text: str) -> str:
    return parse(text).name


def test_every_kernel_of_the_manual_is_run() -> None:
    assert sorted(RUNS) == sorted(map(name_of, KERNELS))


@pytest.mark.parametrize("text", KERNELS, ids=name_of)
def test_kernel_of_the_manual_computes_what_it_says(text: str) -> None:
    kernel = parse(text)
    launch, expected = RUNS[kernel.name]
    found = run_kernel(kernel, *launch)
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0.02, atol=0.02 * np.nanmax(array))


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("add(b[:0], a[:0], a[:0])", "vector_startup_cycles"),
        ("exp(b[:0], a[:0])", "sfu_startup_cycles"),
        ("load(b[:0], x[:0, :])", "dma_issue_cycles"),
        ("matmul(p[:0], a[:0], a)", ""),
    ],
)
@pytest.mark.parametrize("name", ["m890", "m890-mini"])
def test_empty_instruction_takes_its_start_up(name: str, line: str, start: str) -> None:
    text = (
        "from m890sim.lang import *\n@kernel\ndef k(x: Tensor[64, 64], o: Tensor[64, 64]):\n"
        "    for i in cores(1):\n        a = sram(64, 64, bf16)\n        b = sram(64, 64, bf16)\n"
        f"        p = acc(64, 64)\n        fill(a, 0.0)\n        fill(b, 0.0)\n        {line}\n"
        "        store(o[:, :], b)\n"
    )
    chip = get_chip(name)
    busy = [
        simulate_program(parse(each), chip, {}, {}).attribution.cycles[:, :, 0].sum()
        for each in (text, text.replace(f"        {line}\n", ""))
    ]
    assert busy[0] - busy[1] == (getattr(chip, start) if start else 0)


def test_dependences_count_after_a_fence() -> None:
    text = (
        "from m890sim.lang import *\n@kernel\ndef k(o: Tensor[64, 64]):\n    for i in cores(1):\n"
        "        a = sram(64, 64, bf16)\n        b = sram(64, 64, bf16)\n        fill(a, 0.0)\n"
        "        fence()\n        exp(b, a)\n        fence()\n"
    )
    chip = get_chip("m890")
    slow = chip.replace(name="slow", dependence_cycles=chip.dependence_cycles + 30)
    cycles = [simulate_program(parse(text), each, {}, {}).cycles for each in (chip, slow)]
    assert cycles[1] - cycles[0] == 30


def test_manual_of_timing_says_what_counts_elements() -> None:
    timing = (MANUAL.parent / "timing.md").read_text("utf-8").replace("\n", " ")
    assert "n = rows * columns of `src` for the reductions and `transpose`, else of `dst`" in timing
    reductions = {name for name in OPS if name.startswith(("row_", "col_"))}
    of_src = {name for name, row in OPS.items() if row.size_of == "src"}
    assert of_src == reductions | {"transpose"}
    for name in ("m890", "m890-mini"):
        assert f"{get_chip(name).bank_bytes:,} on {name}" in timing
