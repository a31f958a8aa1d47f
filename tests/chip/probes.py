"""Small kernels that each wait for one rate of a chip, and what half of that rate costs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from m890sim.chip import ChipSpec
from m890sim.language import parse
from m890sim.timing import simulate_program

TURNS = 100
LAUNCH = ("launch_cycles", "core_start_cycles", "barrier_cycles")
WIDE = 256  # columns of a tile that is loaded
NARROW = 32  # columns of the tiles of vector and SFU instructions


def kernel_text(body: Sequence[str], params: str = "") -> str:
    """A kernel of some lines."""
    head = f"from m890sim.lang import *\n\n\n@kernel\ndef probe({params}):\n"
    return head + "".join(f"    {line}\n" for line in body)


def loading(chip: ChipSpec, cores: int, queues: int) -> str:
    """Loads that fill SRAM once, on some queues of some cores."""
    rows = chip.sram_bytes // (2 * WIDE) // queues
    body = [f"for i in cores({cores}):", f"    t = sram({rows * queues}, {WIDE}, bf16)"]
    for queue in range(queues):
        piece = f"{queue * rows} : {(queue + 1) * rows}"
        body.append(f"    load(t[{piece}], x[{piece}, :], queue={queue})")
    return kernel_text(body, f'x: Tensor["R", {WIDE}]')


def elementwise(chip: ChipSpec, line: str, dtype: str, banks: str) -> str:
    """A vector or SFU instruction over tiles a, b, ... that fill these banks."""
    size = 4 if dtype == "f32" else 2
    rows = chip.bank_bytes // banks.count("0") // (size * NARROW)
    body = ["for i in cores(1):"]
    for name, bank in zip("abc", banks, strict=False):
        body.append(f"    {name} = sram({rows}, {NARROW}, {dtype}, at={bank})")
        body.append(f"    fill({name}[:], 1.0)")
    body += [f"    for turn in range({TURNS}):", f"        {line}"]
    return kernel_text(body)


def products(chip: ChipSpec, dtype: str, rows: int, blocks: str) -> str:
    """Products of so many streamed rows, as fit one bank, with stationary blocks in turn."""
    inner, columns = chip.matrix_rows, chip.matrix_columns
    size = {"f32": 4, "bf16": 2, "f8e4m3": 1}[dtype]
    rows = min(rows, chip.acc_bytes // (4 * columns), chip.bank_bytes // (size * inner))
    body = [
        "for i in cores(1):",
        f"    o = acc({rows}, {columns})",
        *(f"    {name} = sram({inner}, {columns}, {dtype})" for name in blocks),
        f"    a = sram({rows}, {inner}, {dtype})",
        *(f"    fill({name}[:], 1.0)" for name in ("a", *blocks)),
        f"    for turn in range({TURNS}):",
        *(f"        matmul(o[:], a[:], {name}[:])" for name in blocks),
    ]
    return kernel_text(body)


HALF: dict[str, Callable[[int], int]] = {
    "matrix_f32_cycles_per_row": lambda cycles: 2 * cycles,
    "matrix_load_cycles": lambda cycles: 2 * cycles,
}
PROBES: dict[str, Callable[[ChipSpec], str]] = {
    "hbm_bytes_per_cycle": lambda chip: loading(chip, chip.cores, chip.dma_queues),
    "hbm_core_bytes_per_cycle": lambda chip: loading(chip, 1, chip.dma_queues),
    "dma_bytes_per_cycle": lambda chip: loading(chip, 1, 1),
    "sram_port_bytes_per_cycle": lambda chip: elementwise(
        chip, "add(a[:], b[:], c[:])", "f32", "000"
    ),
    "vector_f32_lanes": lambda chip: elementwise(chip, "add(a[:], b[:], a[:])", "f32", "01"),
    "vector_bf16_lanes": lambda chip: elementwise(chip, "add(a[:], b[:], a[:])", "bf16", "01"),
    "sfu_elements_per_cycle": lambda chip: elementwise(chip, "exp(a[:], a[:])", "f32", "0"),
    "matrix_f32_cycles_per_row": lambda chip: products(chip, "f32", 512, "b"),
    "matrix_f8_rows_per_cycle": lambda chip: products(chip, "f8e4m3", 1024, "b"),
    "matrix_load_cycles": lambda chip: products(chip, "bf16", 4, "bc"),
}


def slower(chip: ChipSpec, rate: str) -> float:
    """Cycles of the rate's probe at half of it over those at all of it, without the launch."""
    chip = chip.replace(name="probed", **dict.fromkeys(LAUNCH, 0))
    value = getattr(chip, rate)
    half = HALF.get(rate, lambda whole: whole // 2)(value)
    kernel = parse(PROBES[rate](chip))
    symbols = {name: chip.sram_bytes for name in kernel.symbols}
    halved = chip.replace(name="halved", **{rate: half})
    before, after = (simulate_program(kernel, spec, symbols, {}).cycles for spec in (chip, halved))
    return after / before
