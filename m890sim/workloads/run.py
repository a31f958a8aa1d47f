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

    A case that is given fewer cores than the chip has (`Case.cores`) runs on that part of it.
    Raises: ChipError for an unknown chip, BindError where the kernel does not fit chip or case,
    LimitError; TypeError for what is no kernel, case or chip.
    """
    from m890sim.timing import simulate_program

    _check_types(kernel, case, chip)
    spec = case.part_of(get_chip(chip) if isinstance(chip, str) else chip)
    return simulate_program(kernel, spec, case.symbols, case.tables, trace=trace)


def execute(
    kernel: Kernel, case: Case, inputs: Mapping[str, Any] | None = None, seed: int = 0
) -> dict[str, Array]:
    """Outputs of a kernel on a case, float32 arrays by parameter name: no cycles are counted.

    inputs: as `case.make_inputs` gives them (its arrays may be changed before); None:
    `case.make_inputs(seed)`.
    Raises: ExecutionError where the kernel traps, BindError, LimitError; TypeError for what is no
    kernel or case.
    """
    from m890sim.execute import run_kernel

    _check_types(kernel, case)
    chosen = case.make_inputs(seed) if inputs is None else inputs
    return run_kernel(kernel, *launch_arguments(kernel, case, chosen))


def _check_types(kernel: object, case: object, chip: object = "m890") -> None:
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel must be a Kernel, as load_kernel gives it, not {kernel!r:.60}")
    if not isinstance(case, Case):
        raise TypeError(f"case must be a Case, as get_task(name).cases holds, not {case!r:.60}")
    if not isinstance(chip, (ChipSpec, str)):
        raise TypeError(f"chip must be a ChipSpec or a preset's name, not {chip!r:.60}")


def launch_arguments(
    kernel: Kernel, case: Case, inputs: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, Any], dict[str, float], dict[str, Any]]:
    """Inputs as `run_kernel` takes them: (symbols, tables, scalars, tensors).

    Tables, scalars and tensors that the kernel does not name are left out. Sizes and tables come
    from `inputs`, other symbols from the case.
    """
    symbols = {name: int(inputs.get(name, value)) for name, value in case.symbols.items()}
    kinds = {param.name: param.kind for param in kernel.params}
    named: dict[str, dict[str, Any]] = {"table": {}, "scalar": {}, "tensor": {}}
    for name, value in inputs.items():
        kind = kinds.get(name)
        if kind in named:
            named[kind][name] = value
    return symbols, named["table"], named["scalar"], named["tensor"]
