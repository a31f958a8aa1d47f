"""Parts of remedies: an edit at many places of a kernel, and transfers over the DMA queues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from m890sim.kernel import ir, print_kernel
from m890sim.language import parse
from m890sim.schedule import Argument, Edit, Site
from m890sim.schedule.core.tree import sites
from m890sim.schedule.kinds import kinds_of

MOST_PASSES = 6  # over a kernel, of one step

Weights = Mapping[str, int]  # `mark` of a statement -> cycles that a profile counts for it


class Editable(Protocol):
    """A kernel that can be edited: `KernelSession` and `Facade` are."""

    @property
    def kernel(self) -> ir.Kernel:
        """As it is now."""

    def legal_edits(self, name: str | None = None) -> tuple[Edit, ...]:
        """Those of a name."""

    def attempt(self, edit: Edit) -> bool:
        """Make an edit where it is legal; whether it was."""


@dataclass(frozen=True, slots=True)
class EachPlace:
    """An edit at every place where it is legal, the last place first.

    argument: None for edits that have none; of tunables ("", step) means each of them. only: a kind
    of `schedule.kinds` that the place must be of. again: until it is legal nowhere.
    """

    name: str
    argument: Argument = None
    only: str = ""
    again: bool = False

    def __str__(self) -> str:
        argument = "" if self.argument is None else f" {self.argument!r}"
        where = f" at each {self.only}" if self.only else ""
        return f"{self.name}{argument}{where}" + (", until none is left" if self.again else "")

    def perform(self, used: Editable, weights: Weights) -> int:
        """Make the edits; how many were made. weights: not needed."""
        made = 0
        for _ in range(MOST_PASSES if self.again else 1):
            here = sum(used.attempt(edit) for edit in reversed(self.places(used)))
            made += here
            if not here:
                break
        return made

    def places(self, used: Editable) -> list[Edit]:
        """The legal edits that the step means."""
        kernel = used.kernel
        kinds = kinds_of(kernel) if self.only else {}
        return [
            edit
            for edit in used.legal_edits(self.name)
            if self._means(kernel, edit)
            and (not self.only or self.only in kinds.get(edit.site, ()))
        ]

    def _means(self, kernel: ir.Kernel, edit: Edit) -> bool:
        if isinstance(self.argument, tuple) and self.argument[0] == "":
            return isinstance(edit.argument, tuple) and edit.argument[1:] == self.argument[1:]
        if edit.argument != self.argument:
            return False
        if self.name == "set_slots" and isinstance(edit.argument, int):
            tile = dict(sites(kernel))[edit.site]
            assert isinstance(tile, ir.TileDecl)
            return isinstance(tile.slots, ir.Const) and tile.slots.value < edit.argument
        return True


@dataclass(frozen=True, slots=True)
class SpreadTransfers:
    """The transfers of each block over all DMA queues, the longest first to the emptiest queue."""

    def __str__(self) -> str:
        return "set_queue: the transfers of a block on different queues"

    def perform(self, used: Editable, weights: Weights) -> int:
        """Make the edits; how many were made. weights: cycles of transfers."""
        queues = queues_of(used)
        wanted: dict[Site, int] = {}
        for transfers in _by_block(used.kernel).values():
            loads = dict.fromkeys(range(queues), 0)
            for site, stmt in sorted(transfers, key=lambda found: -weight(found[1], weights)):
                queue = min(loads, key=lambda number: (loads[number], number))
                loads[queue] += weight(stmt, weights)
                wanted[site] = queue
        legal = used.legal_edits("set_queue")
        return sum(used.attempt(edit) for edit in legal if wanted.get(edit.site) == edit.argument)


@dataclass(frozen=True, slots=True)
class HalvedTransfers:
    """The longest transfers of each block in halves, until it has one for each queue."""

    def __str__(self) -> str:
        return "split_transfer: the longest ones of a block, onto queues that it leaves idle"

    def perform(self, used: Editable, weights: Weights) -> int:
        """Make the edits; how many were made. weights: cycles of transfers."""
        queues, made = queues_of(used), 0
        chosen: list[Edit] = []
        for transfers in _by_block(used.kernel).values():
            taken = {_queue(stmt) for _, stmt in transfers}
            idle = [queue for queue in range(queues) if queue not in taken]
            ordered = sorted(transfers, key=lambda found: -weight(found[1], weights))
            for (site, _), queue in zip(ordered, idle, strict=False):
                chosen.append(Edit("split_transfer", site, queue))
        for edit in sorted(chosen, key=lambda edit: edit.site, reverse=True):
            made += used.attempt(edit)
        return made


@dataclass(frozen=True, slots=True)
class StoresApart:
    """Each store onto the queue that loads use least."""

    def __str__(self) -> str:
        return "set_queue: stores on the queue that loads use least"

    def perform(self, used: Editable, weights: Weights) -> int:
        """Make the edits; how many were made. weights: cycles of transfers."""
        loads = dict.fromkeys(range(queues_of(used)), 0)
        for _, stmt in sites(used.kernel):
            if isinstance(stmt, ir.Instr) and stmt.op == "load":
                queue = _queue(stmt)
                loads[queue] = loads.get(queue, 0) + weight(stmt, weights)
        idlest = min(loads, key=lambda queue: (loads[queue], -queue))
        return EachPlace("set_queue", idlest, only="store").perform(used, weights)


RemedyPart = EachPlace | SpreadTransfers | HalvedTransfers | StoresApart


def weights_of(kernel: ir.Kernel, cycles: Mapping[int, int]) -> dict[str, int]:
    """The cycles of lines by statement, so that they hold for a kernel that was edited since.

    cycles: by line of `print_kernel(kernel)`, as a profile of the kernel counts them. Statements
    that do the same to the same tiles and tensors have one sum.
    """
    found: dict[str, int] = {}
    for line, stmt in marked(kernel):
        if line in cycles:
            key = mark(stmt)
            found[key] = found.get(key, 0) + cycles[line]
    return found


def marked(kernel: ir.Kernel) -> Iterator[tuple[int, ir.Instr]]:
    """The line of each instruction in `print_kernel(kernel)`."""
    for _, stmt in sites(parse(print_kernel(kernel), kernel.filename)):
        if isinstance(stmt, ir.Instr):
            yield stmt.loc.line, stmt


def mark(stmt: ir.Instr) -> str:
    """What a statement does, and to which tiles and tensors; queues and pieces do not count."""
    names = [
        operand.tile if isinstance(operand, ir.TileRef) else operand.tensor
        for operand in stmt.operands
        if isinstance(operand, (ir.TileRef, ir.TensorRef))
    ]
    return " ".join((stmt.op, *names))


def weight(stmt: ir.Instr, weights: Weights) -> int:
    """Of a statement; 1 where the profile did not see it."""
    return weights.get(mark(stmt), 1)


def queues_of(used: Editable) -> int:
    """How many DMA queues edits may name."""
    arguments = [edit.argument for edit in used.legal_edits("set_queue")]
    return 1 + max((number for number in arguments if isinstance(number, int)), default=0)


def _queue(stmt: ir.Instr) -> int:
    queue = stmt.keyword("queue", ir.Const(0))
    return queue.value if isinstance(queue, ir.Const) and isinstance(queue.value, int) else 0


def _by_block(kernel: ir.Kernel) -> dict[Site, list[tuple[Site, ir.Instr]]]:
    """The transfers of each block, in the order of the text; stages of a loop are one block."""
    stages = {site for site, stmt in sites(kernel) if isinstance(stmt, ir.Stage)}
    found: dict[Site, list[tuple[Site, ir.Instr]]] = {}
    for site, stmt in sites(kernel):
        if isinstance(stmt, ir.Instr) and stmt.op in ("load", "store"):
            around = site[:-1]
            while around in stages:
                around = around[:-1]
            found.setdefault(around, []).append((site, stmt))
    return found
