"""optimize: an agent's run on a task, kept in a directory from which it can go on at any time.

Nothing of an agent is saved. It always does the same for a seed, so a run goes on by doing it again
with the verdicts of the log, which takes seconds, and each evaluation must come out as logged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.agents.agent import AgentSession, run_agent
from m890sim.agents.files import (
    BEST,
    EVALUATIONS,
    PICTURE,
    RESULT,
    Log,
    RunError,
    read_lines,
    read_manifest,
    write_json,
    write_whole,
)
from m890sim.agents.lines import Lines, Verdicts, differing
from m890sim.agents.picture import draw
from m890sim.agents.plan import DISTRIBUTIONS, GATE_SEED, Plan, plan_of
from m890sim.agents.registry import get_agent
from m890sim.judge import Evaluation, evaluate
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.session import LogEntry, Memory

Told = Callable[[LogEntry, float], None]  # (an evaluation, the best speedup so far)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    plan: Plan
    path: Path
    interrupted: bool
    log: tuple[LogEntry, ...]
    best: LogEntry | None  # None: no kernel was right
    kernel: Kernel | None
    evaluation: Evaluation | None  # the final judgement; None where there is none
    rejected: tuple[tuple[int, str], ...]  # evaluations that the final judgement refused, and why

    @property
    def speedup(self) -> float:
        """Of the best kernel; 1.0, the reference's own, where there is none."""
        return 1.0 if self.best is None else self.best.speedup

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plan = self.plan
        return {
            "task": plan.task.name,
            "chip": plan.chip.name,
            "agent": plan.agent,
            "seed": plan.seed,
            "evaluations": plan.evaluations,
            "spent": len(self.log),
            "failed": sum(entry.failed for entry in self.log),
            "interrupted": self.interrupted,
            "speedup": self.speedup,
            "best": None
            if self.best is None
            else {
                "index": self.best.index,
                "digest": self.best.digest,
                "edits": len(self.best.edits),
                "cycles": self.best.cycles,
            },
            "rejected": [{"index": index, "message": why} for index, why in self.rejected],
            "evaluation": None if self.evaluation is None else self.evaluation.as_dict(),
        }


class Recorder:
    """Writes a run down while it goes on; at first it repeats what is there."""

    def __init__(self, path: Path, told: Told | None = None) -> None:
        self.path = path
        self.plan = plan_of(read_manifest(path), str(path))
        self._logged, whole = read_lines(path)
        if len(self._logged) > self.plan.evaluations:
            raise RunError(
                f"{path} is damaged: {EVALUATIONS} has {len(self._logged)} evaluations of "
                f"{self.plan.evaluations}; nothing was changed"
            )
        self.agent = get_agent(self.plan.agent)
        self._memory: Memory = Verdicts(self._logged, str(path))
        self._told = told
        self._lines = Lines()
        self.saved: LogEntry | None = None  # the entry whose kernel is in best.py
        self._log = Log(path, whole, len(self._logged))
        self.session: AgentSession | None = None

    @property
    def repeated(self) -> int:
        """Evaluations that were there already."""
        return len(self._logged)

    @property
    def repeating(self) -> bool:
        """Whether the files know more than this session does."""
        return self.session is None or self.session.spent < max(1, self.repeated)

    def search(self) -> None:
        """Run the agent. Raises: RunError, KeyboardInterrupt, both with the log whole."""
        plan = self.plan
        session = self.session = AgentSession(
            plan.task,
            plan.cases,
            plan.chip,
            start=plan.start,
            budget=plan.evaluations,
            verify="best",
            seed=GATE_SEED,
            distributions=DISTRIBUTIONS,
            memory=self._memory,
            told=self._tell,
        )
        run_agent(self.agent, session, plan.seed)
        if session.spent < self.repeated:
            raise self._other(session.spent, "the agent ends before it")

    def close(self) -> None:
        """Give the directory free."""
        self._log.close()

    def save_best(self, entry: LogEntry, kernel: Kernel) -> None:
        """Replace best.py. Raises: RunError."""
        plan = self.plan
        header = (
            f"# {plan.task.name} on {plan.chip.name}: {entry.speedup:.4f}x over "
            f"{plan.task.reference_name}, in cycles of the simulator.",
            f"# Evaluation {entry.index} of agent {plan.agent} with seed {plan.seed}: "
            f"{len(entry.edits)} edits of {plan.start.name}.",
        )
        text = print_kernel(dataclasses.replace(kernel, header=header, doc="", footer=()))
        write_whole(self.path / BEST, text.encode("utf-8"))
        self.saved = entry

    def _tell(self, entry: LogEntry) -> None:
        line = self._lines.line(entry)
        if entry.index < self.repeated:
            key = differing(line, self._logged[entry.index])
            if key:
                raise self._other(entry.index, f"{key} differs")
        else:
            try:
                self._log.append(line)
                self._keep_best()
            except RunError as error:
                raise self._stopped(error) from error
        if self._told is not None:
            self._told(entry, self._session.best_speedup)

    @property
    def _session(self) -> AgentSession:
        assert self.session is not None
        return self.session

    def _keep_best(self) -> None:
        best, kernel = self._session.best, self._session.best_kernel
        if best is not None and kernel is not None and best is not self.saved:
            self.save_best(best, kernel)

    def _stopped(self, error: RunError) -> RunError:
        """The error with what is safe."""
        text = f"{error}; the run stops. {self._log.count} evaluations are saved in {self.path}"
        best = self.saved
        if best is not None:
            text += f"; the best kernel, {best.speedup:.2f}x, is {self.path / BEST}"
        return RunError(f"{text}. To go on, make room: m890 optimize --resume {self.path}")

    def _other(self, index: int, what: str) -> RunError:
        return RunError(
            f"{self.path}: evaluation {index} of {EVALUATIONS} is not what this version does "
            f"again ({what}): the file was changed, or m890sim was; nothing was changed here"
        )


def optimize(path: Path, told: Told | None = None) -> Outcome:
    """Run the plan of a run directory to its end, from wherever it is.

    told: called after every evaluation, also after those that are repeated. On Ctrl-C the run ends
    with the best so far, and can be resumed.
    Raises: RunError where the directory is damaged, foreign, in use or cannot be written; all that
    it held is still there. KeyboardInterrupt on Ctrl-C before anything is new.
    """
    recorder = Recorder(path, told)
    try:
        try:
            recorder.search()
            outcome = _finish(recorder, interrupted=False)
        except KeyboardInterrupt:
            if recorder.repeating:
                raise
            outcome = _finish(recorder, interrupted=True)
        write_json(path / RESULT, outcome.as_dict())
        draw(path / PICTURE, outcome.plan, outcome.log)
    finally:
        recorder.close()
    return outcome


def _finish(recorder: Recorder, interrupted: bool) -> Outcome:
    """Judge the best kernel in full; where it is wrong, the next best."""
    plan, session = recorder.plan, recorder.session
    assert session is not None
    rejected: list[tuple[int, str]] = []
    for entry, kernel in _ranked(session):
        evaluation = None
        if not interrupted:
            evaluation = evaluate(kernel, plan.task, plan.chip, plan.cases)
            if not evaluation.correct:
                why = next(case.message for case in evaluation.cases if not case.correct)
                rejected.append((entry.index, why))
                continue
        recorder.save_best(entry, kernel)
        return Outcome(
            plan,
            recorder.path,
            interrupted,
            session.log,
            entry,
            kernel,
            evaluation,
            tuple(rejected),
        )
    return Outcome(plan, recorder.path, interrupted, session.log, None, None, None, tuple(rejected))


def _ranked(session: AgentSession) -> Iterator[tuple[LogEntry, Kernel]]:
    """Evaluations that may be the best, from the fastest on, with their kernels."""
    best, kernel = session.best, session.best_kernel
    if best is None or kernel is None:
        return
    yield best, kernel
    order = [entry for entry in session.log if not entry.failed and entry is not best]
    for entry in sorted(order, key=lambda entry: (-entry.speedup, entry.index)):
        session.restart()
        for edit in entry.edits:
            session.apply(edit)
        yield entry, session.kernel
