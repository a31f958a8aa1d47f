"""One kernel on one case: `simulate` for cycles, `execute` for values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from m890sim.chip import ChipSpec, get_chip
from m890sim.kernel.ir import Kernel
from m890sim.workloads.case import Array, Case

if TYPE_CHECKING:
    from m890sim.timing import Timing


def simulate(
    kernel: Kernel, case: Case, chip: ChipSpec | str = "m890", *, trace: bool = False
) -> Timing:
    """Cycles of a kernel on a case: no values are computed. `trace` records every instruction.

    Raises: ChipError for an unknown chip, BindError where the kernel does not fit chip or case,
    LimitError.
    """
    from m890sim.timing import simulate_program

    spec = get_chip(chip) if isinstance(chip, str) else chip
    return simulate_program(kernel, spec, case.symbols, case.tables, trace=trace)


def execute(
    kernel: Kernel, case: Case, inputs: Mapping[str, Any] | None = None, seed: int = 0
) -> dict[str, Array]:
    """Outputs of a kernel on a case, float32 arrays by parameter name: no cycles are counted.

    inputs: as `case.make_inputs` gives them (its arrays may be changed before); None:
    `case.make_inputs(seed)`.
    Raises: ExecutionError where the kernel traps, BindError, LimitError.
    """
    from m890sim.execute import run_kernel

    chosen = case.make_inputs(seed) if inputs is None else inputs
    return run_kernel(kernel, *launch_arguments(kernel, case, chosen))


def launch_arguments(
    kernel: Kernel, case: Case, inputs: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, Any], dict[str, float], dict[str, Any]]:
    """Inputs as `run_kernel` takes them: (symbols, tables, scalars, tensors), only what the kernel
    names.

    Sizes and tables come from `inputs`, other symbols from the case.
    """
    symbols = {name: int(inputs.get(name, value)) for name, value in case.symbols.items()}
    kinds = {param.name: param.kind for param in kernel.params}
    named: dict[str, dict[str, Any]] = {"table": {}, "scalar": {}, "tensor": {}}
    for name, value in inputs.items():
        kind = kinds.get(name)
        if kind in named:
            named[kind][name] = value
    return symbols, named["table"], named["scalar"], named["tensor"]
