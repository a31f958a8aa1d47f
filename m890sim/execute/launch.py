"""What a launch gives a kernel, checked: symbols, tables, scalars and input tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from m890sim.errors import BindError
from m890sim.execute.domain import Array, Domain
from m890sim.execute.scalars import EnvScope, EnvSlot, LaunchTable, Site, constant
from m890sim.kernel import ir
from m890sim.messages import described


@dataclass(frozen=True, slots=True)
class Launch:
    """One case of a kernel.

    scope: constants of the kernel's top level. tables: as arrays, for gathers. values: Scalar
    parameters and the language's own floats. inputs: the tensors that the launch gives. dims: shape
    of every tensor parameter.
    """

    scope: EnvScope
    tables: Mapping[str, NDArray[np.int64]]
    values: Mapping[str, float]
    inputs: Mapping[str, Array]
    dims: Mapping[str, tuple[int, ...]]


def make_launch(
    kernel: ir.Kernel,
    symbols: Mapping[str, SupportsIndex],
    tables: Mapping[str, Any],
    scalars: Mapping[str, float],
    tensors: Mapping[str, Any],
    domain: Domain,
) -> Launch:
    """Check what a launch gives against the kernel's parameters; other names are ignored.

    Raises: BindError E304; TypeError for values of the wrong Python type.
    """
    names: dict[str, int | EnvSlot] = dict(kernel.tunables)
    for name in kernel.symbols:
        names[name] = _symbol(name, _given(symbols, name, "symbol or size"))
    arrays = {
        p.name: _table(p.name, _given(tables, p.name, "table"))
        for p in kernel.params
        if p.kind == "table"
    }
    scope = EnvScope(
        names, {name: LaunchTable(name, values.tolist()) for name, values in arrays.items()}
    )
    values = {"inf": math.inf, "LOG2E": math.log2(math.e), "LN2": math.log(2.0)}
    dims: dict[str, tuple[int, ...]] = {}
    inputs: dict[str, Array] = {}
    for param in kernel.params:
        if param.kind == "scalar":
            values[param.name] = float(_given(scalars, param.name, "scalar"))
        if param.kind not in ("tensor", "table"):
            continue
        site = Site(kernel.filename, param.loc, f"parameter {param.name}")
        dims[param.name] = tuple(constant(dim, scope, site) for dim in param.dims)
        if min(dims[param.name], default=0) < 0:
            raise site.error(
                "E405",
                f"its dimensions {_shape(dims[param.name])} are negative; check the case's symbols",
            )
        if param.kind == "tensor" and param.name in tensors:
            inputs[param.name] = domain.lift(param.name, tensors[param.name], param.dtype)
            _check_shape(site, inputs[param.name].shape, dims[param.name])
        elif param.kind == "table":
            _check_shape(site, arrays[param.name].shape, dims[param.name])
    return Launch(scope, arrays, values, inputs, dims)


def _given(entries: Mapping[str, Any], name: str, kind: str) -> Any:
    if name in entries:
        return entries[name]
    raise BindError("E304", f"the launch gives no {kind} {name}; it gives {_listed(entries)}")


def _listed(entries: Iterable[str]) -> str:
    return ", ".join(sorted(entries)) or "none"


def _symbol(name: str, value: SupportsIndex) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"symbol {name} must be an integer, not {described(value)}")
    number = value.__index__()
    if not 0 <= number < 2**31:
        raise BindError("E304", f"{name} is {number}; symbols and sizes lie between 0 and 2**31")
    return number


def _table(name: str, values: Any) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"table {name} must hold integers, not {array.dtype}")
    if array.ndim != 1:
        raise BindError("E304", f"table {name} has {array.ndim} dimensions; tables have one")
    if array.size and not -(2**31) < int(array.min()) <= int(array.max()) < 2**31:
        raise BindError("E304", f"table {name} holds numbers of 2**31 or more; check the case")
    return array.astype(np.int64)


def _check_shape(site: Site, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if tuple(found) != wanted:
        given, declared = _shape(found), _shape(wanted)
        detail = f"the launch gives shape {given}, the kernel declares {declared}; make them agree"
        raise BindError("E304", f"{site.what}: {detail}", site.where)


def _shape(dims: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, dims))})"
