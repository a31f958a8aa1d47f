"""Whether a kernel fits a chip and the cases of a task: every reason why not, and the free bytes.

Nothing runs: tiles are placed and queues are looked up, as before a launch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from m890sim.cli.refusals import Finding, RefusedInput, finding_of
from m890sim.errors import BindError, LimitError
from m890sim.kernel import ir
from m890sim.kernel.transform import Transformer

if TYPE_CHECKING:
    from m890sim.bind import BoundProgram
    from m890sim.bind.program import PhaseRoom
    from m890sim.chip import ChipSpec
    from m890sim.workloads import Case

MOST_FINDINGS = 100  # of one kernel; each takes a further try to bind it


@dataclass(frozen=True, slots=True)
class CaseFit:
    """One case: whether the kernel can be launched on it, and what its phases leave free."""

    case: str
    fits: bool
    phases: tuple[dict[str, int], ...]  # line, sram_bytes, sram_free, acc_bytes, acc_free


@dataclass(frozen=True, slots=True)
class Fit:
    """What `fit` found. findings: none where the kernel fits everything that was asked."""

    chip: str
    findings: tuple[Finding, ...]
    cases: tuple[CaseFit, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the findings go with the command's own."""
        cases = [
            {"case": one.case, "fits": one.fits, "phases": list(one.phases)} for one in self.cases
        ]
        return {"chip": self.chip, "cases": cases}

    def least(self, memory: str) -> tuple[int, str, int] | None:
        """Fewest free bytes of "sram" or "acc", the case and the phase's line; None: no case."""
        free = [
            (phase[f"{memory}_free"], one.case, phase["line"])
            for one in self.cases
            if one.fits
            for phase in one.phases
        ]
        return min(free, key=lambda entry: entry[0], default=None)


def fit(kernel: ir.Kernel, chip: ChipSpec, cases: Iterable[Case] = ()) -> Fit:
    """Hold a checked kernel against a chip, and against cases where there are any.

    A queue or a slot count that is wrong is told once, whatever the case; the rest is told with the
    cases that it concerns, as some may fit where others do not.
    """
    program, errors = _bound(kernel, chip)
    findings = [finding_of(str(error)) for error in errors]
    found: dict[str, list[str]] = {}  # message -> cases
    fits = []
    for case in cases:
        refusals, rooms = ([], []) if program is None else _launched(program, case)
        for text in refusals:
            found.setdefault(text, []).append(case.name)
        phases = () if refusals else tuple(_phase(kernel, chip, room) for room in rooms)
        fits.append(CaseFit(case.name, not (errors or refusals), phases))
    findings += [finding_of(text, tuple(names)) for text, names in found.items()]
    findings.sort(key=lambda one: (one.line or 0, one.column or 0))
    return Fit(chip.name, tuple(findings), tuple(fits))


def require(kernel: ir.Kernel, chip: ChipSpec, cases: Iterable[Case], some: bool = False) -> Fit:
    """`fit`, where the kernel fits every case, or `some` of them.

    Raises: RefusedInput with every finding.
    """
    found = fit(kernel, chip, cases)
    if found.findings and not (some and any(one.fits for one in found.cases)):
        raise RefusedInput(found.findings)
    return found


def _phase(kernel: ir.Kernel, chip: ChipSpec, room: PhaseRoom) -> dict[str, int]:
    return {
        "line": kernel.phases[room.phase].loc.line,
        "sram_bytes": room.sram_bytes,
        "sram_free": chip.sram_bytes - room.sram_bytes,
        "acc_bytes": room.acc_bytes,
        "acc_free": chip.acc_bytes - room.acc_bytes,
    }


def _launched(program: BoundProgram, case: Case) -> tuple[list[str], list[PhaseRoom]]:
    """Every reason why a case cannot be launched, and what its phases take."""
    from m890sim.timing.simulate import check_launch

    refusals: list[str] = []
    rooms: list[PhaseRoom] = []
    try:
        rooms = program.rooms(case.symbols, case.tables)
        refusals = [str(error) for room in rooms for error in room.refusals]
        check_launch(program, program.launch(case.symbols, case.tables))
    except LimitError as error:
        refusals.append(str(error))
    except BindError as error:
        if not any(room.refusals for room in rooms) or error.code == "E308":
            refusals.append(str(error))
    return refusals, rooms


def _bound(kernel: ir.Kernel, chip: ChipSpec) -> tuple[BoundProgram | None, list[BindError]]:
    """The kernel on the chip, and every error of it: bound anew without what was refused."""
    from m890sim.bind import bind

    found: list[BindError] = []
    while len(found) < MOST_FINDINGS:
        try:
            return bind(kernel, chip), found
        except BindError as error:
            found.append(error)
            mended = _Without(error.where).kernel(kernel)
            if mended is kernel:
                break
            kernel = mended
    return None, found


class _Without(Transformer):
    """Takes away the queue=, slots= and at= of the statement at a place."""

    def __init__(self, where: str) -> None:
        self.where = tuple(where.rsplit(":", 2)[1:])

    def kernel(self, kernel: ir.Kernel) -> ir.Kernel:
        """The kernel without them; itself where there is nothing to take away."""
        body = self.block(kernel.body)
        return kernel if body is kernel.body else replace(kernel, body=body)

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        """The statement, changed where it stands at the place."""
        here = (str(stmt.loc.line), str(stmt.loc.column)) == self.where
        if here and isinstance(stmt, ir.Instr) and stmt.keyword("queue") is not None:
            kept = tuple(entry for entry in stmt.keywords if entry[0] != "queue")
            return replace(stmt, keywords=kept)
        if here and isinstance(stmt, ir.TileDecl) and stmt.slots != ir.Const(1):
            return replace(stmt, slots=ir.Const(1), at=None)
        return super().statement(stmt)
