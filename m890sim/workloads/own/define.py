"""define_task: a task from functions and numbers; docs/tasks.md leads through one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.errors import TaskError
from m890sim.kernel.ir import Kernel, Param
from m890sim.messages import check_name, described, shown
from m890sim.workloads.case import Demand, check_extent, real_number
from m890sim.workloads.hidden import CaseDice, HiddenCases
from m890sim.workloads.inputs import DISTRIBUTIONS
from m890sim.workloads.outputs import Output
from m890sim.workloads.own.case import Number, OwnCase, plain, symbols_in
from m890sim.workloads.own.code import code_of
from m890sim.workloads.own.definition import Definition, Values
from m890sim.workloads.own.draw import Draw
from m890sim.workloads.task import Task

if TYPE_CHECKING:
    from m890sim.language.limits import Limits

MOST_SOURCE = 256 * 1024  # bytes of a kernel file
INPUT_DTYPES = ("bf16", "f16", "f32")
_RESERVED = ("text", "cores")


def define_task(
    name: str,
    text: str,
    params: Iterable[Param],
    outputs: Iterable[str | Output],
    oracle: Callable[..., Any],
    cases: Mapping[str, Mapping[str, Any]],
    reference: str | Path,
    *,
    expert: str | Path | None = None,
    inputs: Callable[[Draw], Any] | None = None,
    distributions: Iterable[str] | None = None,
    derive: Callable[[Values], Any] | None = None,
    tables: Callable[[Values], Any] | None = None,
    scalars: Mapping[str, float] | None = None,
    demand: Callable[[Values], Demand | None] | None = None,
    work: Callable[[Values], int] | None = None,
    hidden: Callable[[CaseDice], Mapping[str, Any]] | None = None,
    hidden_name: str | None = None,
    largest: Mapping[str, int] | None = None,
    sampled: bool = False,
    limits: Limits | None = None,
    dtypes: Iterable[str] = ("bf16", "f16", "f32"),
    positive: Iterable[str] = (),
    specification: Callable[..., Any] | None = None,
) -> Task:
    """A task made of functions.

    params: what a kernel may name, made by `tensor`, `table`, `size`, `scalar`. outputs: the
    tensors that it must store, each a name (relative L2 error of a row, 0.01) or an `Output`.
    oracle: gets a dict of all inputs (tensors in fp64) and the case's numbers, gives a dict of the
    outputs. With sampled=True it gets a second dict, output -> int64 [rows, dimensions - 1], the
    rows to compute, and gives [rows, D] for each. cases: name -> numbers (or tuples of integers) by
    name, and if wanted `text` and `cores`. reference, expert: kernels, as the path of a file beside
    the task's, its text, or a built-in name.
    inputs: gets a Draw, gives the tensors that are not to be drawn as usual. distributions: those
    that bend inputs drawn as usual (all where None). derive: numbers that follow from a case's.
    tables: the launch tables of a case. scalars: those that no case says. demand: what any kernel
    must do on a case, for the lower bound; None: there is none. work: how large a case is; the
    elements of its outputs where None. hidden: gets a CaseDice, gives the numbers of a hidden case;
    hidden_name, part of the digest, changes with that rule, and largest says the most that it gives
    a symbol, where drawn chips must have room for it.
    limits: of functional runs, where cases are too large for the usual ones.
    specification: the outputs over a field (docs/equivalence.md).
    Raises: TypeError, ValueError, naming the argument; TaskError for a function that fails;
    LanguageError for a kernel that is refused; OSError.
    """
    check_name("name", name)
    gates = [
        entry if isinstance(entry, Output) else _output(entry)
        for entry in _many("outputs", outputs)
    ]
    named = tuple(gate.name for gate in gates)
    functions = {
        "oracle": oracle,
        "inputs": inputs,
        "derive": derive,
        "tables": tables,
        "demand": demand,
        "work": work,
        "hidden": hidden,
        "specification": specification,
    }
    for argument, function in functions.items():
        if function is None and argument != "oracle":
            continue
        if not callable(function):
            raise TypeError(f"{argument} must be a function, not {described(function)}")
    if not isinstance(sampled, bool):
        raise TypeError(f"sampled must be True or False, not {described(sampled)}")
    parameters = _many("params", params)
    for param in parameters:
        if not isinstance(param, Param):
            raise TypeError(
                f"params must be made by tensor, table, size and scalar, not {described(param)}"
            )
    _check_names(parameters, named)
    bending = None if distributions is None else _many("distributions", distributions)
    for entry in bending or ():
        if not isinstance(entry, str) or entry not in DISTRIBUTIONS:
            raise ValueError(
                f"distributions must be among {', '.join(DISTRIBUTIONS)}, not {described(entry)}"
            )
    if scalars is not None and not isinstance(scalars, Mapping):
        raise TypeError(f"scalars must be a dict of names and numbers, not {described(scalars)}")
    _check_scalars(parameters, scalars or {})
    _check_largest(parameters, largest or {})
    given = [function for function in functions.values() if function is not None]
    code = code_of(given)
    definition = Definition(
        task=name,
        params=parameters,
        outputs=named,
        oracle=oracle,
        sampled=sampled,
        inputs=inputs,
        distributions=bending,
        derive=derive,
        tables=tables,
        scalars={key: plain(value) for key, value in (scalars or {}).items()},
        demand=demand,
        work=work,
        specification=specification,
        code=code,
    )
    generator = None
    if hidden is not None:
        draw = _Drawn(definition, hidden)
        generator = HiddenCases(hidden_name or f"{name}-1", draw, tuple((largest or {}).items()))
    folder = _folder(oracle)
    first = _kernel("reference", reference, folder, parameters)
    last = ("", "") if expert is None else _kernel("expert", expert, folder, parameters)
    return Task(
        name,
        text,
        parameters,
        named,
        _cases(definition, cases),
        first[0],
        last[0],
        allowed_dtypes=_many("dtypes", dtypes),
        positive=_many("positive", positive),
        hidden=generator,
        gates=tuple(gate for gate in gates if gate != Output(gate.name)),
        reference_text=first[1],
        expert_text=last[1],
        limits=limits,
        code=code,
    )


def _check_scalars(params: tuple[Param, ...], scalars: Mapping[str, Any]) -> None:
    there = [param.name for param in params if param.kind == "scalar"]
    for name, value in scalars.items():
        if name not in there:
            raise ValueError(
                f"scalars must name scalar parameters of the task, not {described(name)}; it has "
                f"{', '.join(there) or 'none'}"
            )
        if not math.isfinite(real_number(f"scalar {name}", value)):
            raise ValueError(f"scalar {name} must be finite, not {described(value)}")


def _check_largest(params: tuple[Param, ...], largest: object) -> None:
    if not isinstance(largest, Mapping):
        raise TypeError(f"largest must be a dict of symbols and numbers, not {described(largest)}")
    tensors = [p for p in params if p.kind in ("tensor", "table")]
    there = {name for param in tensors for dim in param.dims for name in symbols_in(dim)}
    there |= {param.name for param in params if param.kind == "size"}
    for name, value in largest.items():
        if name not in there:
            raise ValueError(
                f"largest must name symbols or sizes of the parameters, not {described(name)}; "
                f"there are {', '.join(sorted(there))}"
            )
        check_extent(f"largest {name}", value)


def _check_kernel(argument: str, kernel: Kernel, params: tuple[Param, ...]) -> None:
    """Raises: ValueError for a kernel with a parameter that the task has not."""
    there = {param.name: param for param in params}
    for param in kernel.params:
        if param.kind == "tunable":
            continue
        own = there.get(param.name)
        if own is None:
            raise ValueError(
                f"{argument} {kernel.name} has the parameter {param.name}, which is none of the "
                f"task's: {', '.join(there)}"
            )
        wrong = own.kind == "tensor" and own.dtype != param.dtype
        if wrong or (own.kind, own.dims) != (param.kind, param.dims):
            raise ValueError(
                f"{argument} {kernel.name} has another parameter {param.name} than the task: its "
                "kind, dimensions and dtype must be as in `params`"
            )


def _check_names(params: tuple[Param, ...], outputs: tuple[str, ...]) -> None:
    """Raises: ValueError for parameters of one name, outputs that are none, inputs of one byte."""
    names = [param.name for param in params]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"params must have names of their own; two are called {name!r}")
    tensors = {param.name: param.dtype for param in params if param.kind == "tensor"}
    if not outputs:
        raise ValueError("outputs must name at least one tensor, not none")
    for name in outputs:
        if name not in tensors:
            raise ValueError(
                f"outputs must name tensor parameters of the task, not {described(name)}"
            )
        if outputs.count(name) > 1:
            raise ValueError(f"outputs must name each parameter once, not {described(outputs)}")
    for name, dtype in tensors.items():
        if name not in outputs and dtype not in INPUT_DTYPES:
            raise ValueError(
                f"input {name} must be one of {', '.join(INPUT_DTYPES)}, not {described(dtype)}"
            )


class _Drawn:
    """The rule of hidden cases: what the task's function draws, as a case."""

    def __init__(
        self, definition: Definition, draw: Callable[[CaseDice], Mapping[str, Any]]
    ) -> None:
        self._definition, self._draw = definition, draw

    def __call__(self, dice: CaseDice) -> OwnCase:
        task = self._definition
        with task.blamed("hidden", dice.name):
            found = self._draw(dice)
        numbers = {"text": "drawn", **task.mapping("hidden", found, dice.name)}
        try:
            return _case(task, dice.name, numbers)
        except (TypeError, ValueError) as error:
            raise TaskError(f"task {task.task}: hidden drew no case: {error}") from error


def _cases(definition: Definition, cases: object) -> tuple[OwnCase, ...]:
    if not isinstance(cases, Mapping) or not cases:
        raise TypeError(
            "cases must be a dict of names and the numbers of each case, at least one, not "
            f"{described(cases)}"
        )
    return tuple(_case(definition, name, numbers) for name, numbers in cases.items())


def _case(definition: Definition, name: str, numbers: object) -> OwnCase:
    if not isinstance(numbers, Mapping) or not all(isinstance(key, str) for key in numbers):
        raise TypeError(
            f"case {described(name)} must be a dict of names and numbers, not {described(numbers)}"
        )
    values: list[tuple[str, Number]] = [
        (key, plain(value)) for key, value in sorted(numbers.items()) if key not in _RESERVED
    ]
    text, cores = (numbers.get(key) for key in _RESERVED)
    return OwnCase(
        name, definition.task, definition, tuple(values), "" if text is None else text, cores
    )


def _output(name: object) -> Output:
    if not isinstance(name, str):
        raise TypeError(f"outputs must be names or Output(...), not {described(name)}")
    return Output(name)


def _many(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a sequence, not {described(value)}")
    return tuple(value)


def _folder(oracle: Callable[..., Any]) -> Path:
    """The folder of the file that a task's oracle stands in, where relative paths begin."""
    code = getattr(oracle, "__code__", None)
    file = Path(code.co_filename) if code is not None else Path()
    return file.parent if file.suffix == ".py" else Path()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _kernel(
    argument: str, given: object, folder: Path, params: tuple[Param, ...]
) -> tuple[str, str]:
    """Name and text of a kernel; the text is "" for a built-in one."""
    from m890sim.language import parse
    from m890sim.workloads.registry import KERNELS, load_kernel

    if not isinstance(given, (str, Path)):
        raise TypeError(f"{argument} must be a path or a text, not {described(given)}")
    if isinstance(given, str) and given in KERNELS:
        _check_kernel(argument, load_kernel(given), params)
        return given, ""
    filename = f"<{argument}>"
    if isinstance(given, Path) or "\n" not in given:
        path = folder / given
        if not _is_file(path):
            raise ValueError(
                f"{argument} {shown(str(given), 100)} is neither a file ({shown(str(path), 200)}) "
                "nor a built-in kernel nor the text of one; give one of these"
            )
        with open(path, "rb") as stream:
            text: str | bytes = stream.read(MOST_SOURCE + 1)
        filename = str(path)
    else:
        text = given
    kernel = parse(text, filename=filename)
    if kernel.name in KERNELS:
        raise ValueError(
            f"{argument} is called {kernel.name}, as a built-in kernel is; give it a name of its "
            "own (after `def`)"
        )
    _check_kernel(argument, kernel, params)
    return kernel.name, text if isinstance(text, str) else text.decode("utf-8")
