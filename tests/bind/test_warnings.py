"""Warnings of a chip and a case: what they say in cycles is what the engine counts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim import get_chip
from m890sim.bind.warnings import launch_warnings
from m890sim.errors import WARNINGS, Diagnostic
from m890sim.language import parse
from m890sim.timing import simulate_program
from m890sim.workloads import KERNELS, get_task, load_kernel

OPS = {
    "add": "add({d}, {a}, {b})",
    "fma": "fma({d}, {a}, {b}, {a})",
    "copy": "copy({d}, {a})",
    "in place": "mul({a}, {a}, {b})",
    "exp": "exp({d}, {a}, bias={b})",
    "exp2 on the vector unit": "exp2({d}, {a}, engine=vector)",
    "row_max": "row_max({d}[:, :1], {a})",
    "transpose": "transpose({d}[:{n}, :{n}], {a}[:{n}, :{n}])",
    "matmul": "matmul(p[:{n}, :{n}], {a}[:{n}, :{n}], {b}[:{n}, :{n}])",
    "row step": "add({d}[::2], {a}[::2], {b}[::2])",
}


def text(line: str, rows: int, cols: int, dtype: str, banks: tuple[int, int, int]) -> str:
    """A kernel that runs one instruction with nothing beside it."""
    size = f"{rows}, {cols}, {dtype}"
    body = [f"{name} = sram({size}, at={bank})" for name, bank in zip("dab", banks, strict=True)]
    body += ["p = acc(64, 64)", "fill(a, 0.0)", "fence()", "fill(b, 0.0)", "fence()"]
    body += [line.format(d="d", a="a", b="b", n=min(rows, cols, 64)), "fence()"]
    body += ["copy(d, a)", "fence()", f"store(o[:, :], d[:{rows}, :])"]
    return "\n".join(
        [
            "from m890sim.lang import *",
            "@kernel",
            f"def k(o: Tensor[{rows}, {cols}, {dtype}]):",
            "    for i in cores(1):",
            *(f"        {line}" for line in body),
        ]
    )


def extra(found: list[Diagnostic]) -> int:
    """Cycles that the warnings of banks name, all together."""
    cycles = [re.search(r"takes (\d+) cycles? longer", one.message) for one in found]
    return sum(int(match[1]) for match in cycles if match is not None)


@settings(deadline=None)
@given(
    op=st.sampled_from(sorted(OPS)),
    rows=st.sampled_from([2, 7, 16, 64]),
    cols=st.sampled_from([1, 8, 31, 64]),
    dtype=st.sampled_from(["bf16", "f32"]),
    name=st.sampled_from(["m890", "m890-mini", "m890-lean"]),
    banks=st.tuples(*[st.sampled_from([0, 0, 2, 4])] * 3),
)
def test_cycles_of_a_warning_are_those_of_the_engine(
    op: str, rows: int, cols: int, dtype: str, name: str, banks: tuple[int, int, int]
) -> None:
    chip = get_chip(name)
    if rows * cols * (4 if dtype == "f32" else 2) * 3 > chip.bank_bytes:
        return
    together = parse(text(OPS[op], rows, cols, dtype, banks))
    apart = parse(text(OPS[op], rows, cols, dtype, (1, 3, 5)))
    found = launch_warnings(together, chip, {}, {})
    assert launch_warnings(apart, chip, {}, {}) == []
    assert {one.code for one in found} <= {"W201"}
    difference = (
        simulate_program(together, chip, {}, {}).cycles
        - simulate_program(apart, chip, {}, {}).cycles
    )
    assert extra(found) == difference


def test_warning_names_tiles_bank_and_cycles() -> None:
    kernel = parse(text(OPS["add"], 64, 64, "bf16", (0, 0, 0)))
    found = launch_warnings(kernel, get_chip("m890"), {}, {})
    assert [one.line for one in found] == [13, 15]
    assert found[0].message == (
        "`d` and `a` and `b` share bank 0 of SRAM, whose port serves 512 bytes a cycle: add takes "
        "32 cycles longer each time; put one into another bank with at= (0 to 15), or use smaller "
        "tiles"
    )


SLOTS = """from m890sim.lang import *
@kernel
def k(x: Tensor["T", 64], o: Tensor["T", 64]):
    for i in cores(ceil_div(T, 64){order}):
        rows = min(64, T - i * 64)
        a = sram(64, 64, bf16, slots=2)
        load(a[:rows], x[i * 64 : i * 64 + rows, :])
        store(o[i * 64 : i * 64 + rows, :], a[:rows], queue=1)
"""


@pytest.mark.parametrize(
    ("blocks", "order", "expected"),
    [(16, "", True), (17, "", False), (16, ', order="dynamic"', False), (2, "", True)],
)
def test_slots_that_no_core_passes_twice(blocks: int, order: str, expected: bool) -> None:
    kernel = parse(SLOTS.format(order=order))
    chip, symbols = get_chip("m890"), {"T": 64 * blocks}
    found = launch_warnings(kernel, chip, symbols, {})
    assert [one.code for one in found] == (["W202"] if expected else [])
    plain = parse(SLOTS.format(order=order).replace(", slots=2", ""))
    cycles = [simulate_program(each, chip, symbols, {}).cycles for each in (kernel, plain)]
    if expected:
        assert cycles[0] == cycles[1]
        assert found[0].message == (
            f"slots=2 of `a` does nothing here: with {blocks} work items on 16 cores no core "
            "passes its declaration twice; declare it inside a loop, or leave slots= out"
        )


@pytest.mark.parametrize("name", KERNELS)
def test_built_in_kernels_have_no_spare_slots_on_every_case(name: str) -> None:
    task, chip = get_task(KERNELS[name].task), get_chip("m890")
    kernel = load_kernel(name, chip)
    if name == "vector_add_expert":
        return  # written for the longer hidden cases: on the public ones its slots are spare
    spare = [
        {
            one.line
            for one in launch_warnings(kernel, case.part_of(chip), case.symbols, case.tables)
            if one.code == "W202"
        }
        for case in task.cases
    ]
    assert set.intersection(*spare) == set()


def test_every_code_has_its_meaning() -> None:
    assert sorted(WARNINGS) == ["W101", "W102", "W103", "W104", "W201", "W202"]
