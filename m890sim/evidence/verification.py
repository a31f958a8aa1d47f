"""verify: everything that a record says, worked out again from the start kernel on.

The agent does not run again: what it chose stands in the log. So runs of agents that nobody else
has are verified all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.agents.chain import CHAIN, broken_link
from m890sim.agents.differences import difference
from m890sim.agents.lines import Lines, differing, edits_of
from m890sim.agents.outcome import RunOutcome, best_text, finish, ranked
from m890sim.agents.plan import DifferError, Plan, gate_settings
from m890sim.agents.reading import RunError
from m890sim.errors import BelowLowerBoundError, M890Error
from m890sim.evidence.record import Record, read_record
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.session import KernelSession, LogEntry

Told = Callable[[int, int, str], None]  # (steps done, steps in all, what comes next)


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a record holds; where not, the first thing in it that does not."""

    difference: str | None  # None: it holds
    judged: bool = True  # False: a run that has not ended, or was interrupted before its judgement

    @property
    def verified(self) -> bool:
        """True where everything came out as recorded."""
        return self.difference is None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "verified": self.verified,
            "difference": self.difference,
            "judged": self.judged,
        }


def verify(path: Path | str, told: Told | None = None) -> Verification:
    """Work out again what a run directory or a submission says; reads only.

    Manifest, chain, every kernel of the log with its cycles and verdict, best kernel, result with
    the final judgement and the hidden cases. A run that was killed or still goes on is verified as
    far as its whole lines go.
    Raises: RunError for what is no record, is damaged, or was made by another version.
    """
    try:
        record = read_record(Path(path))
    except DifferError as error:
        return Verification(str(error))
    return verify_record(record, told)


def verify_record(record: Record, told: Told | None = None) -> Verification:
    """As `verify`, of a record that was read already."""
    judged = record.result is not None and record.result.get("interrupted") is False
    try:
        found = _Replay(record, told).difference()
    except DifferError as error:
        found = str(error)
    return Verification(found or None, judged)


class _Replay:
    """One record, done again."""

    def __init__(self, record: Record, told: Told | None) -> None:
        self.record = record
        self.plan: Plan = record.plan()
        self._told = told
        self._kernels: list[Kernel] = []
        self._bests: list[LogEntry | None] = []  # after each evaluation

    def difference(self) -> str:
        """The first thing that does not hold, "" where all does."""
        record, plan = self.record, self.plan
        broken = broken_link(record.manifest, record.lines)
        if broken is not None:
            return (
                f"evaluation {broken}: its chain does not follow from what stands before it: the "
                "line, an earlier one or the manifest was changed"
            )
        if record.chain != record.head:
            return f"chain: the record says {record.chain!r:.80}, recomputed {record.head!r}"
        if len(record.lines) > plan.evaluations:
            return f"the log has {len(record.lines)} evaluations of {plan.evaluations}"
        stale = _stale(record, plan)
        if stale:
            return stale
        session = KernelSession(
            plan.task,
            plan.cases,
            plan.chip,
            start=plan.start,
            budget=plan.evaluations,
            verify="best",
            **gate_settings(),
        )
        lines = Lines()
        for number, line in enumerate(record.lines):
            self._tell(number, f"evaluation {number}")
            text = self._evaluation(session, lines, number, line)
            if text:
                return f"evaluation {number}: {text}"
            self._kernels.append(session.kernel)
            self._bests.append(session.best)
        self._tell(len(record.lines), "the final judgement")
        return self._end(session)

    def _evaluation(
        self, session: KernelSession, lines: Lines, number: int, line: dict[str, Any]
    ) -> str:
        """Bring the session to the line's kernel, evaluate it, and compare."""
        source = line.get("source")
        try:
            if source is not None:
                session.load(parse(source, filename=f"<evaluation {number}>"))
            else:
                session.load(self.plan.start)
                for edit in edits_of(self.record.lines[: number + 1], number):
                    session.apply(edit)
        except KeyError:
            return "it is made by edits of a kernel that stands there as a text"
        except (ValueError, TypeError, IndexError, AttributeError, M890Error) as error:
            return f"its kernel cannot be made: {error!s:.300}"
        spent = session.spent
        if "profile" in line:
            try:
                session.profile(line["profile"]["case"])
            except (ValueError, M890Error) as error:
                return f"its profile cannot be made: {error!s:.300}"
            if session.spent == spent:
                return "its profile was there before, which costs nothing again"
            return differing(lines.line(session.log[-1], source), line)
        try:
            entry = session.evaluate()
        except BelowLowerBoundError as error:
            raise RunError(f"{self.record.path}: evaluation {number}: {error}") from error
        if session.spent == spent:
            return f"its kernel is that of evaluation {entry.index}, which costs nothing again"
        if number == 0 and entry.digest != record_start(self.plan):
            return "it must be the start kernel's"
        return differing(lines.line(entry, source), line)

    def _end(self, session: KernelSession) -> str:
        """best.py and result.json."""
        record, plan = self.record, self.plan
        result = record.result
        if result is None:
            return self._best_so_far()
        text = self._choice(session, result)
        if text:
            return text
        outcome = finish(
            plan,
            record.path,
            session.log,
            session.best,
            lambda entry: self._kernels[entry.index],
            record.head,
            interrupted=result.get("interrupted") is True,
        )
        text = difference(result, outcome.as_dict())
        if text:
            return f"result: {text}"
        return _best_differs(record, outcome)

    def _choice(self, session: KernelSession, result: dict[str, Any]) -> str:
        """Whether the result speaks of the kernels that the log puts first.

        Asked before any of them is judged, which takes a while for each.
        """
        order = ranked(session.log, session.best)
        said = result.get("rejected")
        if not isinstance(said, list) or len(said) > len(order):
            return f"result: rejected: the record says {said!r:.80}, which cannot be"
        indices = [entry.get("index") if isinstance(entry, dict) else entry for entry in said]
        text = difference(indices, [entry.index for entry in order[: len(said)]], ("rejected",))
        if text:
            return f"result: {text}"
        best = result["best"]
        if len(said) == len(order):
            return "" if best is None else "result: best: every kernel of the log was rejected"
        entry = order[len(said)]
        text = difference(None if best is None else best.get("index"), entry.index, ("best",))
        if text:
            return f"result: {text}"
        if self.record.best != self._text_of(entry):
            return "best.py: it is not the kernel that the result names"
        return ""

    def _best_so_far(self) -> str:
        """best.py of a run that has not ended: of the last line, or of the one before it."""
        texts = [None if best is None else self._text_of(best) for best in self._bests[-2:]]
        if self.record.best in texts or (self.record.best is None and len(texts) < 2):
            return ""
        return "best.py: it is not the best kernel of the log"

    def _text_of(self, best: LogEntry) -> str:
        return best_text(self.plan, best, self._kernels[best.index])

    def _tell(self, done: int, text: str) -> None:
        if self._told is not None:
            self._told(done, len(self.record.lines) + 1, text)


def _stale(record: Record, plan: Plan) -> str:
    """Where a result does not belong to its log, by what takes no time to compare."""
    result = record.result
    if result is None:
        return ""
    found: dict[str, Any] = {
        "task": plan.task.name,
        "chip": plan.chip.name,
        "agent": plan.agent,
        "seed": plan.seed,
        "evaluations": plan.evaluations,
        "spent": len(record.lines),
        CHAIN: record.head,
    }
    best = result["best"]
    if best is not None:
        index = best.get("index")
        if type(index) is not int or not 0 <= index < len(record.lines):
            return f"result: best.index: the log has no evaluation {index!r:.60}"
        line = record.lines[index]
        found["best"] = {"digest": line["digest"], "cycles": line["cycles"]}
        best = {key: best[key] for key in ("digest", "cycles") if key in best}
    said = {key: result[key] for key in found if key in result} | {"best": best}
    text = difference(said, {"best": None} | found)
    return f"result: {text}" if text else ""


def record_start(plan: Plan) -> str:
    """Digest of the start kernel."""
    from m890sim.kernel import digest

    return digest(plan.start)


def _best_differs(record: Record, outcome: RunOutcome) -> str:
    if outcome.best is None or outcome.kernel is None:
        # What the search took for its best lies there still.
        return ""
    if record.best != best_text(outcome.plan, outcome.best, outcome.kernel):
        return "best.py: it is not the kernel that the result names"
    return ""
