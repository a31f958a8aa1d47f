"""Definition: the functions that a task consists of, and checks of all that they return.

They are somebody else's: what they raise or return wrong becomes a TaskError that names the task,
the function and the field.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from m890sim.errors import TaskError
from m890sim.kernel.ir import Param
from m890sim.messages import described, shown
from m890sim.workloads.case import Demand
from m890sim.workloads.inputs import round_bf16
from m890sim.workloads.own.draw import Draw

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue

Array = np.ndarray[Any, np.dtype[Any]]
Values = Mapping[str, Any]  # a case's numbers by name
PACKAGE = Path(__file__).absolute().parents[2]
LIBRARY = sysconfig.get_paths()["stdlib"]
MOST_DEMAND = 2**62  # of any number of a demand


@dataclass(frozen=True, eq=False, kw_only=True)
class Definition:
    """What a task computes, in functions; `define_task` says what each is given and gives."""

    task: str
    params: tuple[Param, ...]
    outputs: tuple[str, ...]
    oracle: Callable[..., Any]
    sampled: bool = False
    inputs: Callable[[Draw], Any] | None = None
    distributions: tuple[str, ...] | None = None  # that bend; None: all
    derive: Callable[[Values], Any] | None = None
    tables: Callable[[Values], Any] | None = None
    scalars: Mapping[str, float]
    demand: Callable[[Values], Any] | None = None
    work: Callable[[Values], Any] | None = None
    specification: Callable[[Field, Mapping[str, FieldValue]], Any] | None = None
    code: str = ""  # digest of the files that the functions come from

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Functions of a task file are in no module that another process could import.
        origin = ORIGINS.get(self)
        if origin is None:
            return super().__reduce_ex__(protocol)
        return _restored, (origin, self.code)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The tensors that a kernel reads."""
        return tuple(
            p.name for p in self.params if p.kind == "tensor" and p.name not in self.outputs
        )

    @contextmanager
    def blamed(self, name: str, where: str = "") -> Iterator[None]:
        """Turn what a function raises into a TaskError that names it, and the line."""
        what = f"task {self.task}: {name}" + (f" on {where}" if where else "")
        try:
            yield
        except TaskError as error:
            raise TaskError(f"{what}: {error}") from error
        except (Exception, SystemExit) as error:
            raise TaskError(f"{what} raised {said(error)}") from error

    def mapping(self, name: str, found: object, where: str) -> Mapping[str, Any]:
        """What a function returned, as names and values. Raises: TaskError."""
        if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
            raise TaskError(
                f"task {self.task}: {name} on {where} must return a dict of names, not "
                f"{described(found)}"
            )
        return found

    def drawn(
        self, draw: Draw, case: str, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Array]:
        """The input tensors, float32, rounded to their dtypes. Raises: TaskError."""
        found: Mapping[str, Any] = {}
        where = f"case {case}, distribution {draw.distribution!r}"
        if self.inputs is not None:
            with self.blamed("inputs", where):
                result = self.inputs(draw)
            found = self.mapping("inputs", result, where)
        for name in found:
            if name not in self.input_names:
                raise TaskError(
                    f"task {self.task}: inputs on {where} returned {described(name)}, which is no "
                    f"input tensor; the input tensors are {', '.join(self.input_names)}"
                )
        dtypes = {param.name: param.dtype for param in self.params}
        tensors = {}
        for name in self.input_names:
            values = found[name] if name in found else draw.tensor(name)
            array = self._array(f"inputs on {where}", name, values, shapes[name])
            with np.errstate(over="ignore"):  # found by isfinite below
                array = array.astype(np.float32)
                if dtypes[name] == "f16":
                    array = array.astype(np.float16).astype(np.float32)
                elif dtypes[name] == "bf16":
                    array = round_bf16(array)
            self._finite(f"inputs on {where}", name, array)
            tensors[name] = array
        return tensors

    def right(
        self,
        inputs: Mapping[str, Any],
        case: str,
        shapes: Mapping[str, tuple[int, ...]],
        rows: Mapping[str, Array] | None,
    ) -> dict[str, Array]:
        """The outputs in fp64, by name. rows: as for `Case.oracles`. Raises: TaskError."""
        where = f"case {case}"
        given = {
            name: value.astype(np.float64)
            if name in self.input_names and isinstance(value, np.ndarray)
            else value
            for name, value in inputs.items()
        }
        places = None
        if self.sampled:
            chosen = rows or {name: np.ones(shapes[name][:-1], bool) for name in self.outputs}
            places = {name: np.argwhere(mask) for name, mask in chosen.items()}
        with self.blamed("oracle", where):
            result = self.oracle(given) if places is None else self.oracle(given, places)
        if len(self.outputs) == 1 and isinstance(result, np.ndarray):
            result = {self.outputs[0]: result}
        found = self.mapping("oracle", result, where)
        if found.keys() != set(self.outputs):
            raise TaskError(
                f"task {self.task}: oracle on {where} returned {_names(found)}; it must return "
                f"the outputs {_names(self.outputs)}"
            )
        right = {}
        for name in self.outputs:
            shape = shapes[name]
            if places is not None:
                shape = (len(places[name]), shape[-1])
            array = self._array(f"oracle on {where}", name, found[name], shape)
            array = array.astype(np.float64)
            self._finite(f"oracle on {where}", name, array)
            if places is None and rows is not None:
                array = array[rows[name]]
            elif places is not None and rows is None:
                array = array.reshape(shapes[name])
            right[name] = array
        return right

    def _array(self, what: str, name: str, value: object, shape: tuple[int, ...]) -> Array:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            found = described(value)
            if isinstance(value, np.ndarray):
                found = f"an array of {value.dtype.name}"
            raise TaskError(
                f"task {self.task}: {what} gave {name!r} as {found}, which is no NumPy array of "
                f"real numbers; give one of shape {shape}"
            )
        if value.shape != shape:
            raise TaskError(
                f"task {self.task}: {what} gave {name!r} the shape {value.shape}; it must have "
                f"{shape}"
            )
        return value

    def _finite(self, what: str, name: str, array: Array) -> None:
        wrong = ~np.isfinite(array)
        if wrong.any():
            first = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise TaskError(
                f"task {self.task}: {what} gave {name!r} {int(wrong.sum())} values that are not "
                f"finite, the first at {list(first)}: {array[first]}; give finite ones (leave the "
                "distribution out of `distributions`, or bend the inputs less)"
            )

    def stated(self, values: Values, case: str) -> Demand | None:
        """The demand of a case. Raises: TaskError."""
        if self.demand is None:
            return None
        with self.blamed("demand", f"case {case}"):
            found = self.demand(values)
        if found is None:
            return None
        what = f"task {self.task}: demand on case {case}"
        if type(found) is not Demand:
            raise TaskError(f"{what} must return a Demand or None, not {described(found)}")
        for entry in fields(found):
            number = getattr(found, entry.name)
            if type(number) is not int or not 0 <= number <= MOST_DEMAND:
                raise TaskError(
                    f"{what} has {entry.name} = {described(number)}; it must be an integer of 0 "
                    "... 2**62"
                )
        return found


# Where a definition was loaded from, as `get_task` takes it, for other processes.
ORIGINS: WeakKeyDictionary[Definition, str] = WeakKeyDictionary()


def _restored(origin: str, code: str) -> Definition:
    from m890sim.workloads.tasks import get_task

    for case in get_task(origin).cases:
        found = getattr(case, "definition", None)
        if isinstance(found, Definition) and found.code == code:
            return found
    raise TaskError(f"{origin} is another task than the one that was sent here")


def said(error: BaseException) -> str:
    """An error of somebody else's function in one line, with the line where it came about."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if (
            not file.startswith((str(PACKAGE), LIBRARY))
            and file.endswith(".py")
            and "site-packages" not in file
        ):
            place = f" ({Path(file).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {shown(str(error), 300)}{place}"


def _names(names: Any) -> str:
    return ", ".join(repr(str(name)[:60]) for name in list(names)[:10]) or "none"
