"""One kernel on one case: `simulate` for cycles, `execute` for values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from m890sim.chip import ChipSpec, chip_of
from m890sim.kernel.ir import Kernel
from m890sim.messages import check_flag, described
from m890sim.workloads.case import (
    SEED_LIMIT,
    Array,
    Case,
    real_array,
    real_number,
    whole_number,
)

if TYPE_CHECKING:
    from m890sim.language import Limits
    from m890sim.timing import Timing


def simulate(
    kernel: Kernel,
    case: Case,
    chip: ChipSpec | str = "m890",
    *,
    trace: bool = False,
    limits: Limits | None = None,
) -> Timing:
    """Cycles of a kernel on a case: no values are computed. `trace` records every instruction.

    limits: on its work, `DEFAULT_LIMITS` of `m890sim.language` where None.
    A case that is given fewer cores than the chip has (`Case.cores`) runs on that part of it.
    Raises: ChipError for an unknown chip, BindError where the kernel does not fit chip or case,
    LimitError, LanguageError for a kernel that the language refuses; TypeError for what is no
    kernel, case or chip.
    """
    _check_kernel(kernel)
    _check_case(case)
    check_flag("trace", trace)
    return simulate_checked(kernel, case, chip_of(chip), trace=trace, limits=limits)


def simulate_checked(
    kernel: Kernel,
    case: Case,
    chip: ChipSpec,
    *,
    trace: bool = False,
    limits: Limits | None = None,
) -> Timing:
    """`simulate` for a kernel and a chip that were checked, as a search does once for many runs.

    Raises: BindError, LimitError; TypeError for what is no case.
    """
    from m890sim.timing import simulate_program

    if not isinstance(case, Case):
        _check_case(case)
    part = case.part_of(chip)
    if limits is None:
        return simulate_program(kernel, part, case.symbols, case.tables, trace=trace)
    chosen = chosen_limits(limits)
    return simulate_program(kernel, part, case.symbols, case.tables, trace=trace, limits=chosen)


def chosen_limits(limits: Limits | None) -> Limits:
    """The limits on work, the usual ones where None. Raises: TypeError."""
    from m890sim.language import DEFAULT_LIMITS, Limits

    if limits is None:
        return DEFAULT_LIMITS
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits or None, not {described(limits)}")
    return limits


def execute(
    kernel: Kernel,
    case: Case,
    inputs: Mapping[str, Any] | None = None,
    seed: int = 0,
    *,
    limits: Limits | None = None,
) -> dict[str, Array]:
    """Outputs of a kernel on a case, float32 arrays by parameter name: no cycles are counted.

    inputs: as `case.make_inputs` gives them (its arrays may be changed before); None:
    `case.make_inputs(seed)`. limits: on its work and memory, `DEFAULT_LIMITS` of `m890sim.language`
    where None.
    Raises: ExecutionError where the kernel traps, BindError, LimitError, LanguageError for a kernel
    that the language refuses; TypeError or ValueError for what is no kernel, case, input, seed or
    limits.
    """
    from m890sim.execute import run_kernel

    _check_kernel(kernel)
    _check_case(case)
    if inputs is not None:
        whole_number("seed", seed, SEED_LIMIT)
        _check_inputs(kernel, case, inputs)
    chosen = case.make_inputs(seed) if inputs is None else inputs
    arguments = launch_arguments(kernel, case, chosen)
    return run_kernel(kernel, *arguments, limits=chosen_limits(limits))


def _check_kernel(kernel: object) -> None:
    from m890sim.language import check_built

    if type(kernel) is not Kernel:
        raise TypeError(
            f"kernel must be a Kernel, as load_kernel gives it, not {described(kernel)}"
        )
    check_built(kernel)


def _check_case(case: object) -> None:
    if not isinstance(case, Case):
        raise TypeError(
            f"case must be a Case, as get_task(name).cases holds, not {described(case)}"
        )
    case.__post_init__()


def _check_inputs(kernel: Kernel, case: Case, inputs: object) -> None:
    """Whether inputs are numbers of the kinds that the kernel's parameters take."""
    if not isinstance(inputs, Mapping):
        raise TypeError(
            "inputs must be a mapping of names to arrays and numbers, as case.make_inputs gives "
            f"them, or None, not {described(inputs)}"
        )
    for param in kernel.params:
        if param.name not in inputs:
            continue
        value = inputs[param.name]
        if param.kind == "scalar":
            real_number(f"inputs[{param.name!r}]", value)
        elif param.kind in ("tensor", "table"):
            real_array(f"inputs[{param.name!r}]", value)


def launch_arguments(
    kernel: Kernel, case: Case, inputs: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, Any], dict[str, float], dict[str, Any]]:
    """Inputs as `run_kernel` takes them: (symbols, tables, scalars, tensors).

    Tables, scalars and tensors that the kernel does not name are left out. Sizes and tables come
    from `inputs`, other symbols from the case.
    """
    if type(kernel) is not Kernel or not isinstance(case, Case) or not isinstance(inputs, Mapping):
        raise TypeError(
            "launch_arguments takes a Kernel, a Case and a mapping, not "
            f"{described(kernel)}, {described(case)} and {described(inputs)}"
        )
    symbols = dict(case.symbols)
    for name in symbols:
        if name in inputs:
            symbols[name] = whole_number(f"inputs[{name!r}]", inputs[name], 2**31)
    kinds = {param.name: param.kind for param in kernel.params}
    named: dict[str, dict[str, Any]] = {"table": {}, "scalar": {}, "tensor": {}}
    for name, value in inputs.items():
        kind = kinds.get(name)
        if kind in named:
            named[kind][name] = value
    return symbols, named["table"], named["scalar"], named["tensor"]
