"""What a functional run may cost: counted before it is done, alike in batches and item by item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from m890sim.errors import LimitError
from m890sim.execute.run import execute_kernel
from m890sim.execute.work import trip_work
from m890sim.kernel import ir
from m890sim.language import Limits, parse

# Items of 4 rows, 2 in the last; 16 items so that they run in batches.
TEXT = """from m890sim.lang import *


@kernel
def product(x: Tensor["T", 8], y: Tensor[8, 16], o: Tensor["T", 16, f32]):
    for i in cores(ceil_div(T, 4)):
        rows = min(4, T - i * 4)
        a = sram(4, 8, bf16)
        b = sram(8, 16, bf16)
        s = acc(4, 16)
        m = sram(4, 1, f32)
        r = sram(4, 16, f32)
        load(a[:rows], x[i * 4 : i * 4 + rows, :])
        load(b, y, queue=1)
        for n in range(3):
            matmul(s[:rows], a[:rows], b)
        row_max(m[:rows], s[:rows])
        exp(r[:rows], s[:rows], bias=0.5, row_sum=m[:rows])
        store(o[i * 4 : i * 4 + rows, :], r[:rows], queue=2)
"""
TOKENS = 62
PRODUCTS = 3 * TOKENS * 8 * 16
# Of an item: b. Of a row: a, what the maximum reads, exp, the stored row.
ELEMENTS = 16 * 8 * 16 + TOKENS * (8 + 16 + 16 + 16)


def run(batches: bool, limits: Limits, text: str = TEXT, **symbols: int) -> Any:
    sizes = symbols or {"T": TOKENS}
    tensors = {"x": np.ones((sizes.get("T", 1), 8)), "y": np.ones((8, 16))}
    named = {name: value for name, value in tensors.items() if f"{name}:" in text}
    return execute_kernel(parse(text), sizes, {}, {}, named, limits=limits, batches=batches)


@pytest.mark.parametrize("batches", [True, False])
def test_arithmetic_at_the_limit_is_legal_and_beyond_it_refused(batches: bool) -> None:
    run(batches, Limits(run_products=PRODUCTS, run_elements=ELEMENTS))
    message = f"E510 the run comes to more than {PRODUCTS - 1:,} multiply-adds; compute less, run "
    with pytest.raises(LimitError, match=message):
        run(batches, Limits(run_products=PRODUCTS - 1))
    message = f"E510 the run comes to more than {ELEMENTS - 1:,} elements of its other instruc"
    with pytest.raises(LimitError, match=message + r"tions; .* limits=Limits\(run_elements="):
        run(batches, Limits(run_elements=ELEMENTS - 1))


def test_one_huge_product_is_refused_before_it_is_formed() -> None:
    text = """from m890sim.lang import *


@kernel
def huge(o: Tensor["N", "N", f32]):
    for i in cores(1):
        a = sram(8000, 8000, f8e4m3)
        s = acc(8000, 8000)
        fill(a, 1.0)
        matmul(s, a, a)
"""
    with pytest.raises(LimitError, match="E510 the run comes to more than 250,000,000,000 multip"):
        run(False, Limits(), text, N=1)


@pytest.mark.parametrize("batches", [True, False])
def test_work_items_of_a_run_are_bounded_before_any_list_is_made(batches: bool) -> None:
    text = TEXT.replace("for i in cores(", "for i, j, k in cores(2147483647, 2147483647, ")
    with pytest.raises(LimitError, match=r"E506 the launch has 73,786,976,226,118,729,744 work"):
        run(batches, Limits(), text)
    run(batches, Limits(items=16))
    with pytest.raises(LimitError, match="E506 the launch has 16 work items, the most is 15; use"):
        run(batches, Limits(items=15))


def test_integers_that_a_run_works_out_count_as_trips() -> None:
    lines = ["w0 = j * 3"] + [f"w{n} = (w{n - 1} * 5 + j) % 1009" for n in range(1, 60)]
    body = "".join(f"            {line}\n" for line in lines)
    text = 'from m890sim.lang import *\n\n\n@kernel\ndef f(o: Tensor["N", 1]):\n'
    text += f"    for i in cores(1):\n        for j in range(1000):\n{body}"
    (phase,) = parse(text).phases
    (loop,) = phase.body
    assert isinstance(loop, ir.Loop)
    assert trip_work(loop.body) == 1 + (1 + 59 * 3) // 16
    # The item counts its text once: 12; each trip counts 12.
    run(False, Limits(run_instructions=12 + 12 * 1000), text, N=1)
    with pytest.raises(LimitError, match="E506 the run comes to more than 12,011 work items and"):
        run(False, Limits(run_instructions=12 + 12 * 1000 - 1), text, N=1)
