"""Rules about who writes and reads what: stages, undefined reads, directions of tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

from m890sim.kernel import ir
from m890sim.language.instructions import TileAccess
from m890sim.language.report import Report
from m890sim.language.scopes import KINDS, Binding
from m890sim.messages import shown


@dataclass(slots=True, eq=False)
class _StagedLoop:
    """A loop with stages while its body is being read: which stage touches what."""

    serial: int  # bindings up to this one were declared outside the loop
    block: int = 0  # the number of the loop's own block
    stage: int | None = None  # the stage being read
    touched: dict[Binding, dict[int, ir.SourceLoc]] = field(
        default_factory=dict
    )  # stage -> first place
    written: set[Binding] = field(default_factory=set)


class AccessFlow:
    """Follows the accesses of a kernel in the order of its text."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.path: list[
            tuple[str, int]
        ] = []  # the loops and ifs around the current statement, numbered
        self._numbers = 0
        self._staged: list[_StagedLoop] = []
        self._written: dict[Binding, set[int]] = {}  # -> the numbers of all loops around its writes
        self._early: list[tuple[Binding, ir.SourceLoc, tuple[tuple[str, int], ...], str]] = []
        self._directions: dict[Binding, tuple[bool, ir.SourceLoc]] = {}

    def enter(self, kind: str) -> None:
        """Into the body of a "loop" or an "if"."""
        self._numbers += 1
        self.path.append((kind, self._numbers))

    def leave(self) -> None:
        self.path.pop()

    def enter_staged(self, serial: int, block: int) -> None:
        """Into the body of a loop with stages."""
        self._staged.append(_StagedLoop(serial, block))

    def stage(self, index: int | None) -> None:
        """Into a stage of the innermost staged loop, or (None) out of it."""
        self._staged[-1].stage = index

    def leave_staged(self) -> None:
        """Out of a loop with stages; reports what its pipelining would break."""
        loop = self._staged.pop()
        for binding, stages in loop.touched.items():
            if len(stages) < 2:
                continue
            first, last = min(stages), max(stages)
            both = f"stages {', '.join(str(stage) for stage in sorted(stages))}"
            name, need = shown(binding.name), last - first + 1
            if binding.serial <= loop.serial:
                if binding in loop.written:
                    self.report.add("E221", _carried(binding.kind, name, both), stages[last])
            elif binding.block == loop.block and binding.slots is not None and binding.slots < need:
                found = (
                    f"`{name}` has slots={binding.slots} and is used "
                    f"in {both}, which needs at least {need}"
                )
                self.report.add("E222", f"{found}; declare it with slots={need}", binding.loc)

    def access(self, access: TileAccess, alive: bool) -> None:
        """One operand of an instruction; `alive` unless the tunables rule the statement out."""
        binding, loc = access.piece.binding, access.piece.loc
        for loop in self._staged:
            if loop.stage is not None:
                loop.touched.setdefault(binding, {}).setdefault(loop.stage, loc)
                if access.writes:
                    loop.written.add(binding)
        if binding.kind == "tensor":
            self._direction(binding, access.writes, loc)
            return
        undefined = access.reads and binding not in self._written
        if undefined and alive and not access.piece.empty:
            self._early.append((binding, loc, tuple(self.path), access.piece.text))

    def wrote(self, access: TileAccess) -> None:
        """The write of an operand, after all reads of its instruction."""
        if access.writes:
            loops = {number for kind, number in self.path if kind == "loop"}
            self._written.setdefault(access.piece.binding, set()).update(loops)

    def _direction(self, binding: Binding, stores: bool, loc: ir.SourceLoc) -> None:
        first = self._directions.setdefault(binding, (stores, loc))
        if first[0] != stores:
            now, then = ("stored", "loaded") if stores else ("loaded", "stored")
            found = f"`{shown(binding.name)}` is {now} here and {then} in line {first[1].line}"
            remedy = (
                "a parameter is an input or an output: use hbm(...) scratch or a second parameter"
            )
            self.report.add("E216", f"{found}; {remedy}", loc)

    def report_undefined_reads(self) -> None:
        """Reports reads that nothing can have written: once for each tile.

        A write further down can come first only through a loop that holds both, with the tile
        declared outside it, and only where the loop's first iteration can pass the read over: where
        an `if` or another loop lies around the read.
        """
        seen: set[Binding] = set()
        for binding, loc, path, text in self._early:
            loops = self._written.get(binding, set())
            inside = path[binding.loops : -1]
            if binding in seen or any(
                kind == "loop" and number in loops for kind, number in inside
            ):
                continue
            seen.add(binding)
            remedy = (
                "fill or load it first"
                if binding.kind == "tile"
                else "store into it in an earlier phase"
            )
            found = f"`{text}` reads {KINDS[binding.kind]} that nothing before it writes"
            self.report.add("E215", f"{found}; {remedy}", loc)


def _carried(kind: str, name: str, stages: str) -> str:
    """Message for a tile or a tensor that a staged loop writes, and uses in several stages."""
    if kind == "tile":
        return (
            f"`{name}` is declared outside the loop, written in it and used in its {stages}, "
            "but a carried tile may be in one only; use it in one stage, or declare it in the loop"
        )
    if kind == "hbm":
        return (
            f"`{name}` is written in the loop and used in its {stages}, but HBM scratch may be "
            "in one only; use it in one stage"
        )
    # The later of two stores to one element must stay the later one.
    return (
        f"`{name}` is stored in {stages} of the loop, but a tensor may be stored in one only; "
        "put its stores into one stage"
    )
