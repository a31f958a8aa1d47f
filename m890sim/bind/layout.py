"""Code while it is made, and how its parts are laid out one after the other, registers numbered."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from m890sim.bind.encoding import CODE_WIDTH, REGISTER
from m890sim.bind.lower import ROW_BYTES
from m890sim.bind.scalars import Value

IntArray = np.ndarray[Any, np.dtype[np.int64]]

_PACKS = [struct.Struct(f"={n}q{8 * (CODE_WIDTH - n)}x").pack for n in range(CODE_WIDTH + 1)]


def row(*numbers: int) -> bytes:
    """A row of code, as int64."""
    return _PACKS[len(numbers)](*numbers)


class Label:
    """A place in the code that is known when the code is laid out."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -1


class Jump:
    """A row of code whose column `column` takes the place of a label."""

    __slots__ = ("column", "label", "row")

    def __init__(self, label: Label, column: int, *numbers: int) -> None:
        self.label, self.column, self.row = label, column, row(*numbers)


class Code:
    """Rows, jumps and labels in order. size: how many there are."""

    __slots__ = ("parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes | Jump | Label] = []
        self.size = 0

    def add(self, part: bytes | Jump | Label) -> None:
        """Append a row, a jump or a label."""
        self.parts.append(part)
        self.size += 1

    def add_rows(self, rows: bytes) -> None:
        """Append any number of rows."""
        self.parts.append(rows)
        self.size += len(rows) // ROW_BYTES

    def join(self, code: Code) -> None:
        """Append all of another code."""
        self.parts += code.parts
        self.size += code.size


Phase = tuple[Label, int, int, int]


def laid_out(
    code: Code, instructions: list[bytes], phases: list[Phase], first: Sequence[Value]
) -> tuple[IntArray, IntArray, IntArray, int]:
    """Code, phases and instructions as arrays, and how many registers they name.

    Registers are numbered anew: those of the values `first`, then all others in order of use.
    """
    parts: list[bytes] = []
    jumps: list[tuple[int, Label]] = []
    size = 0  # bytes so far
    for part in code.parts:
        if isinstance(part, bytes):
            parts.append(part)
            size += len(part)
        elif isinstance(part, Label):
            part.at = size // 8
        else:
            jumps.append((size // 8 + part.column, part.label))
            parts.append(part.row)
            size += ROW_BYTES
    parts.append(row())
    ends = size // 8 + CODE_WIDTH, size // 8 + CODE_WIDTH + 4 * len(phases)
    parts += [struct.pack("=4q", label.at, *numbers) for label, *numbers in phases]
    parts += instructions
    found = np.frombuffer(bytearray().join(parts), dtype=np.int64)
    for at, label in jumps:
        found[at] = label.at
    (places,) = (found >= REGISTER).nonzero()
    used = np.empty(len(first) + len(places), dtype=np.int64)
    used[: len(first)] = [value.number for value in first]
    np.subtract(found[places], REGISTER, out=used[len(first) :])
    # Where each register stands first: of several the last assignment counts.
    number = np.empty(int(used.max()) + 1, dtype=np.int64)
    order = np.arange(len(used))
    number[used[::-1]] = order[::-1]
    different = used[number[used] == order]
    number[different] = order[: len(different)]
    found[places] = number[used[len(first) :]]
    return (
        found[: ends[0]],
        found[ends[0] : ends[1]].reshape(-1, 4),
        found[ends[1] :],
        len(different),
    )
