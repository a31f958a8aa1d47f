"""OwnCase: a case of a task from functions, made of its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.digests import digest_of
from m890sim.errors import TaskError
from m890sim.kernel.ir import Const, Expr, Name, Op
from m890sim.messages import described
from m890sim.workloads.case import (
    MOST_ELEMENTS,
    MOST_PRODUCTS,
    Array,
    Case,
    Demand,
    check_extent,
    check_size,
    chosen_rows,
)
from m890sim.workloads.inputs import chosen_distribution
from m890sim.workloads.own.definition import Definition
from m890sim.workloads.own.draw import Draw

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue

Number = int | float | tuple[int, ...]
MOST_MEMBERS = 2**16  # of a tuple of integers
MOST_INTEGER = 2**31


@dataclass(frozen=True)
class OwnCase(Case):
    """A case of a task from functions.

    values: (name, number or tuple of integers), in order of the names: symbols of the dimensions,
    sizes, scalars, and whatever else the task's functions go by.
    """

    definition: Definition = field(repr=False)
    values: tuple[tuple[str, Number], ...]
    text: str = ""
    given_cores: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.definition, Definition):
            raise TypeError(f"definition must be a Definition, not {described(self.definition)}")
        if type(self.values) is not tuple:
            raise TypeError(
                f"values must be a tuple of names and numbers, not {described(self.values)}"
            )
        for name, value in self.values:
            _check_value(f"case {self.name}: {name}", value)
        if self.given_cores is not None:
            check_extent(f"case {self.name}: cores", self.given_cores, 1, 4096)
        for name, extent in self.symbols.items():
            least = int(name in self._symbols_of("tensor"))  # a table may be empty
            check_extent(f"case {self.name}: {name}", extent, least, MOST_INTEGER)
        for name, shape in self._shapes.items():
            check_size(f"case {self.name}: {name}", math.prod(shape), MOST_ELEMENTS, "elements")
        if self.demand is not None:
            check_size(f"case {self.name}", self.demand.products, MOST_PRODUCTS, "products")
        _ = self.tables, self.scalars, self.work

    @cached_property
    def numbers(self) -> Mapping[str, Any]:
        """The case's numbers by name, and those that `derive` makes of them; read-only."""
        found: dict[str, Any] = dict(self.values)
        if self.definition.derive is not None:
            where = f"case {self.name}"
            with self.definition.blamed("derive", where):
                more = self.definition.derive(MappingProxyType(found))
            for name, value in self.definition.mapping("derive", more, where).items():
                value = plain(value)
                _check_value(f"case {self.name}: {name}, which derive returned,", value)
                found[name] = value
        return MappingProxyType(found)

    def _symbols_of(self, *kinds: str) -> frozenset[str]:
        return frozenset(
            name
            for param in self.definition.params
            if param.kind in kinds
            for dim in param.dims
            for name in symbols_in(dim)
        )

    @cached_property
    def symbols(self) -> Mapping[str, int]:
        """Values of the dimensions' symbols and of the sizes."""
        sizes = [param.name for param in self.definition.params if param.kind == "size"]
        found = {}
        for name in (*sorted(self._symbols_of("tensor", "table")), *sizes):
            if name not in self.numbers:
                raise ValueError(
                    f"case {self.name} must say {name}, which the task's parameters name; add it "
                    "to the case, or let `derive` return it"
                )
            found[name] = self.numbers[name]
        return MappingProxyType(found)

    @cached_property
    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {
            param.name: tuple(_extent(dim, self.symbols) for dim in param.dims)
            for param in self.definition.params
            if param.kind == "tensor"
        }

    @cached_property
    def tables(self) -> Mapping[str, Array]:
        """The launch tables by name, int64, read-only."""
        task, where = self.definition, f"case {self.name}"
        wanted = {
            param.name: _extent(param.dims[0], self.symbols)
            for param in task.params
            if param.kind == "table"
        }
        if not wanted:
            return {}
        found: Mapping[str, Any] = {}
        if task.tables is not None:
            with task.blamed("tables", where):
                result = task.tables(self.numbers)
            found = task.mapping("tables", result, where)
        tables = {}
        for name, length in wanted.items():
            what = f"task {task.task}: tables on {where}"
            if name not in found:
                raise TaskError(f"{what} must return {name!r}, an array of {length} integers")
            try:
                array = np.array(found[name])
            except ValueError:
                array = np.zeros(0)
            if array.dtype.kind not in "iu" or array.shape != (length,):
                raise TaskError(
                    f"{what} gave {name!r} as {array.dtype} of shape {array.shape}; it must be "
                    f"integers of shape ({length},)"
                )
            array = array.astype(np.int64)
            if length and not -MOST_INTEGER <= array.min() <= array.max() <= MOST_INTEGER:
                raise TaskError(f"{what} gave {name!r} integers beyond 2**31")
            array.setflags(write=False)
            tables[name] = array
        return tables

    @cached_property
    def scalars(self) -> Mapping[str, float]:
        """Values of the scalars: the case's own, or those of the task."""
        found = {}
        for param in self.definition.params:
            if param.kind != "scalar":
                continue
            value = self.numbers.get(param.name, self.definition.scalars.get(param.name))
            if type(value) not in (int, float) or not math.isfinite(float(value or 0)):
                raise ValueError(
                    f"case {self.name} must say {param.name}, a finite number, not "
                    f"{described(value)}; add it to the case or to `scalars`"
                )
            found[param.name] = float(value)
        return found

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self._shapes[self.definition.outputs[0]]

    def shape_of(self, output: str) -> tuple[int, ...]:
        """Shape of an output by its name."""
        return self._shapes[output]

    @cached_property
    def work(self) -> int:
        """What the task's `work` says, or the elements of the outputs."""
        if self.definition.work is None:
            return sum(math.prod(self._shapes[name]) for name in self.definition.outputs)
        with self.definition.blamed("work", f"case {self.name}"):
            found = self.definition.work(self.numbers)
        if type(found) is not int or found < 1:
            raise TaskError(
                f"task {self.task}: work on case {self.name} must return an integer of at least "
                f"1, not {described(found)}"
            )
        return found

    @cached_property
    def demand(self) -> Demand | None:
        """What the task's `demand` says."""
        return self.definition.stated(self.numbers, self.name)

    @property
    def loaded_bytes(self) -> int:
        """Bytes of all input tensors in fp32, as they are made."""
        return sum(4 * math.prod(self._shapes[name]) for name in self.definition.input_names)

    @property
    def cores(self) -> int | None:
        """The cores that the case is given, None for all of the chip's."""
        return self.given_cores

    def make_inputs(self, seed: int = 0, distribution: str | None = None) -> dict[str, Any]:
        """See `Case.make_inputs`."""
        seed, chosen = chosen_distribution(seed, distribution)
        bends = self.definition.distributions
        shapes = {name: self._shapes[name] for name in self.definition.input_names}
        bent = bends is None or chosen in bends
        values = MappingProxyType({**self.scalars, **self.numbers})
        draw = Draw(self.name, seed, chosen, values, shapes, bent)
        tensors: dict[str, Any] = self.definition.drawn(draw, self.name, shapes)
        sizes = {p.name: self.symbols[p.name] for p in self.definition.params if p.kind == "size"}
        return {**tensors, **self.tables, **sizes, **self.scalars}

    def oracle(self, inputs: Mapping[str, Any], rows: Array | None = None) -> Array:
        """The first output; see `Case.oracle`."""
        wanted = chosen_rows(self, rows)
        first = self.definition.outputs[0]
        if rows is None or not self.definition.sampled:
            whole: Array = self.oracles(inputs)[first]
            return np.where(wanted[..., None], whole, np.nan)
        masks = {name: np.zeros(self.shape_of(name)[:-1], bool) for name in self.definition.outputs}
        found = np.full(self.output_shape, np.nan)
        found[wanted] = self.oracles(inputs, masks | {first: wanted})[first]
        return found

    def oracles(
        self, inputs: Mapping[str, Any], rows: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """See `Case.oracles`."""
        given = {**self.numbers, **inputs}
        return self.definition.right(given, self.name, self._shapes, rows)

    def specification(
        self, field: Field, inputs: Mapping[str, FieldValue]
    ) -> FieldValue | Mapping[str, FieldValue] | None:
        """What the task's `specification` says; None where it has none."""
        if self.definition.specification is None:
            return None
        with self.definition.blamed("specification", f"case {self.name}"):
            found: Any = self.definition.specification(field, inputs)
        return found  # type: ignore[no-any-return]

    @property
    def digest(self) -> str:
        """Names the case by its numbers and by the code of its task."""
        return digest_of(
            {
                "is": "OwnCase",
                "task": self.task,
                "name": self.name,
                "text": self.text,
                "values": self.values,
                "cores": self.given_cores,
                "code": self.definition.code,
            }
        )


def plain(value: Any) -> Any:
    """Numbers of NumPy as Python's, lists and arrays of integers as tuples; all else as it is."""
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.size <= MOST_MEMBERS:
        return tuple(value.tolist())
    if isinstance(value, (list, tuple)) and len(value) <= MOST_MEMBERS:
        return tuple(int(entry) if isinstance(entry, np.integer) else entry for entry in value)
    return value


def _check_value(name: str, value: object) -> None:
    if type(value) is tuple:
        if len(value) > MOST_MEMBERS or not all(
            type(entry) is int and abs(entry) <= MOST_INTEGER for entry in value
        ):
            raise ValueError(
                f"{name} must be at most {MOST_MEMBERS} integers of at most 2**31, not "
                f"{described(value)}"
            )
    elif type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, not {value}")
    elif type(value) is not int:
        raise TypeError(f"{name} must be a number or a tuple of integers, not {described(value)}")
    elif abs(value) > MOST_INTEGER:
        raise ValueError(f"{name} must be at most 2**31, not {described(value)}")


def symbols_in(dim: Expr) -> tuple[str, ...]:
    """The symbols that a dimension names."""
    if isinstance(dim, Name):
        return (dim.id,)
    return (
        tuple(name for arg in dim.args for name in symbols_in(arg)) if isinstance(dim, Op) else ()
    )


def _extent(dim: Expr, symbols: Mapping[str, int]) -> int:
    if isinstance(dim, Const):
        return int(dim.value)
    if isinstance(dim, Name):
        return symbols[dim.id]
    assert isinstance(dim, Op)
    return sum(_extent(arg, symbols) for arg in dim.args)
