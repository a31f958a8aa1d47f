"""Case: what every case of every task offers, and the work that a case asks of a chip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.chip import ChipSpec
from m890sim.digests import digest_of
from m890sim.messages import check_name, described

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue

Array = np.ndarray[Any, np.dtype[Any]]

# What a case may ask of a machine that judges it, before any array is made; docs/judge.md.
MOST_ELEMENTS = 2**26  # of one tensor: 256 MiB in fp32
MOST_PRODUCTS = 2**38  # of the whole case
SEED_LIMIT = 2**64


@dataclass(frozen=True, slots=True)
class Demand:
    """What any kernel must at least do for a case; docs/lower_bounds.md says how it is counted."""

    loaded_bytes: int  # inputs that some output depends on, each once
    stored_bytes: int  # outputs, each once
    products: int  # multiplications of two inputs, or of a weight and an input
    elements: int  # elements that pass through the vector unit or the SFU, a pass each
    # Elements of the vector unit at its bf16 rate that one of `elements` takes where all its
    # operands are narrow; it also may come in fp32, at the fp32 rate.
    narrow_elements: int = 1
    copied_bytes: int = 0  # of those loaded, what may go from load to store without any engine
    exponentials: int = 0  # each an element of the SFU, or a polynomial on the vector unit
    exponent_products: int = 0  # that each exponential's argument is a sum of; 0: it is loaded


@dataclass(frozen=True)
class Case(ABC):
    """One case of a task: shapes, inputs, the right output, and what it must cost at least.

    Cases are compared and hashed by value; everything about one follows from its fields.
    """

    name: str
    task: str  # key of TASKS

    def __post_init__(self) -> None:
        """Hold every field to its type and range; subclasses add their own.

        Raises: TypeError, ValueError, naming the field, what it is and what it must be.
        """
        check_name("name", self.name)
        check_name("task", self.task)
        if not isinstance(self.text, str) or len(self.text) > 1000:
            raise TypeError(
                f"text must be a text of at most 1000 characters, not {described(self.text)}"
            )

    @property
    @abstractmethod
    def text(self) -> str:
        """What it is, in a few words."""

    @property
    @abstractmethod
    def symbols(self) -> Mapping[str, int]:
        """Values of the dimensions' symbols and of the Size parameters."""

    @property
    def tables(self) -> Mapping[str, Array]:
        """The launch tables by name, int64, read-only."""
        return {}

    @property
    def scalars(self) -> Mapping[str, float]:
        """Values of the Scalar parameters."""
        return {}

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output; its rows, along the last dimension, are judged one by one."""

    @property
    @abstractmethod
    def work(self) -> int:
        """How large the case is, in elements or scores: small ones are judged first and in full."""

    @property
    @abstractmethod
    def demand(self) -> Demand | None:
        """What any kernel must at least do; None where nobody says: then there is no bound."""

    def shape_of(self, output: str) -> tuple[int, ...]:
        """Shape of an output by its name; `output_shape` where there is one."""
        return self.output_shape

    @property
    def loaded_bytes(self) -> int:
        """Bytes of the inputs, as far as the case says."""
        return 0 if self.demand is None else self.demand.loaded_bytes

    @property
    def run_axis(self) -> int:
        """The dimension of the output along which neighbouring rows share most of their inputs."""
        return 0

    @property
    def cores(self) -> int | None:
        """The cores that the case is given, None for all of the chip's."""
        return None

    @abstractmethod
    def make_inputs(self, seed: int = 0, distribution: str | None = None) -> dict[str, Any]:
        """Arguments by the names of the task's kernel parameters; distribution "normal" by default.

        Tensors are float32, rounded to bf16; tables int64; sizes int; scalars float. The same
        (case, seed, distribution) gives the same arrays.
        Raises: TaskError for an unknown distribution (see `m890sim.workloads.DISTRIBUTIONS`),
        TypeError or ValueError for a seed that is no integer of 0 ... 2**64 - 1.
        """

    def shared_inputs(
        self, seed: int = 0, distribution: str | None = None, rows: Array | None = None
    ) -> dict[str, Any]:
        """`make_inputs` for callers that change no array: some may be shared, and read-only.

        rows: bool, as for `oracle`, the rows of the output that will be looked at (all where None):
        what no such row depends on may have other values than in `make_inputs`.
        Cheaper where several distributions of one case and seed are asked for, or a few rows.
        """
        if rows is not None:
            chosen_rows(self, rows)
        return self.make_inputs(seed, distribution)

    @abstractmethod
    def oracle(self, inputs: Mapping[str, Any], rows: Array | None = None) -> Array:
        """The right output in fp64, shape `output_shape`.

        rows: bool, `output_shape` without its last dimension, the rows to compute (all where None);
        the others are NaN.
        """

    def oracles(
        self, inputs: Mapping[str, Any], rows: Mapping[str, Array] | None = None
    ) -> Mapping[str, Array] | None:
        """The right outputs by name in fp64; None where `oracle` says what every output is.

        rows: bool by output, its shape without the last dimension, the rows to compute; then an
        output is [rows chosen, D]. None: all, then it has the shape `shape_of` says.
        """
        return None

    def specification(
        self, field: Field, inputs: Mapping[str, FieldValue]
    ) -> FieldValue | Mapping[str, FieldValue] | None:
        """The right output over a field, shape `output_shape`; None where the task has none.

        A task of several outputs gives them by name. inputs: the task's input tensors as values of
        the field. docs/equivalence.md tells how it is used; the sum over a row's weights may come
        to 0, then the row is unknown.
        """
        return None

    def narrowed(self) -> Case | None:
        """The same case with fewer elements a row, where that leaves all else as it is, or None.

        Exact equivalence is decided there where the kernel provably does the same on both.
        """
        return None

    @property
    def digest(self) -> str:
        """Names the case by all of its fields: its class, task, name and shapes."""
        return digest_of(self)

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is cached beside them follows from them, and pickle refuses it."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def part_of(self, chip: ChipSpec) -> ChipSpec:
        """The chip with no more cores than the case is given."""
        if type(chip) is not ChipSpec:
            raise TypeError(f"chip must be a ChipSpec, not {described(chip)}")
        return chip if self.cores is None else _with_cores(chip, min(chip.cores, self.cores))


def check_extent(name: str, value: object, least: int = 1, most: int = MOST_ELEMENTS) -> None:
    """Raises: TypeError for what is no integer, ValueError for one out of range."""
    if type(value) is not int:
        raise TypeError(f"{name} must be an integer, not {described(value)}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least} ... {most:,}, not {described(value)}")


def check_size(what: str, found: int, most: int, unit: str) -> None:
    """Raises: ValueError for a case that is too large."""
    if found > most:
        raise ValueError(
            f"{what} has {found:,} {unit}, the limit of a case is {most:,}; make the case smaller"
        )


def real_number(name: str, value: object) -> float:
    """A number as a float. Raises: TypeError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a number, not {described(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit a float, not {described(value)}") from None


def real_array(name: str, value: object, shape: tuple[int, ...] | None = None) -> Array:
    """An array of real numbers, of a shape if one is given. Raises: TypeError, ValueError."""
    if not isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        raise TypeError(f"{name} must be an array of numbers, not {described(value)}")
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if array.dtype.kind not in "iuf" and not array.dtype.name.startswith(("bfloat", "float")):
        raise TypeError(f"{name} must be an array of real numbers, not of {array.dtype.name}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, not {array.shape}")
    return array


def input_of(inputs: object, name: str, shape: tuple[int, ...]) -> Array:
    """An input of an oracle. Raises: TypeError, ValueError where it is absent or of other shape."""
    if not isinstance(inputs, Mapping):
        raise TypeError(
            f"inputs must be a mapping, as case.make_inputs gives it, not {described(inputs)}"
        )
    if name not in inputs:
        raise ValueError(f"inputs must hold {name!r}, as case.make_inputs gives it")
    return real_array(f"inputs[{name!r}]", inputs[name], shape)


def chosen_rows(case: Case, rows: Array | None) -> Array:
    """Rows of the output as bool, all where None. Raises: TypeError, ValueError."""
    shape = case.output_shape[:-1]
    if rows is None:
        return np.ones(shape, bool)
    if not isinstance(rows, (np.ndarray, list, tuple)):
        raise TypeError(f"rows must be a bool array, not {described(rows)}")
    wanted = np.asarray(rows, bool)
    if wanted.shape != shape:
        raise ValueError(f"rows must have shape {shape}, not {wanted.shape}")
    return wanted


@lru_cache(maxsize=64)
def _with_cores(chip: ChipSpec, cores: int) -> ChipSpec:
    return chip if chip.cores == cores else chip.replace(cores=cores)


def whole_number(name: str, value: object, limit: int) -> int:
    """The value as an int of 0 ... limit - 1. Raises: TypeError, ValueError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, not {described(value)}")
    if not 0 <= value < limit:
        # Beyond 4,300 digits Python refuses to print an integer.
        found = (
            f"{int(value):,}" if -SEED_LIMIT < value < SEED_LIMIT else "one of more than 64 bits"
        )
        raise ValueError(f"{name} must be 0 ... {limit - 1:,}, not {found}")
    return int(value)
