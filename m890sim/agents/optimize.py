"""optimize: an agent's run on a task, kept in a directory from which it can go on at any time.

Nothing of an agent is saved. It always does the same for a seed, so a run goes on by doing it again
with the verdicts of the log, which takes seconds, and each evaluation must come out as logged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from m890sim.agents.agent import Agent, AgentSession, run_agent
from m890sim.agents.ahead import Ahead
from m890sim.agents.chain import CHAIN, broken_link, head_of
from m890sim.agents.clock import Times
from m890sim.agents.files import (
    BEST,
    EVALUATIONS,
    MANIFEST,
    PICTURE,
    RESULT,
    Log,
    errors_of,
    read_lines,
    read_manifest,
    write_json,
    write_whole,
)
from m890sim.agents.lines import Lines, Verdicts, differing
from m890sim.agents.outcome import RunOutcome, best_text, finish
from m890sim.agents.picture import draw
from m890sim.agents.plan import gate_settings, plan_of
from m890sim.agents.reading import RunError
from m890sim.agents.registry import AGENTS, AgentError, get_agent
from m890sim.kernel.ir import Kernel
from m890sim.messages import described
from m890sim.scale.store import TextStore
from m890sim.session import LogEntry, Memory
from m890sim.session.arguments import integer_of
from m890sim.session.stored import Evaluations, Shelf
from m890sim.workloads import Task

Told = Callable[[LogEntry, float], None]  # (an evaluation, the best speedup so far)


class Recorder:
    """Writes a run down while it goes on; at first it repeats what is there.

    agent: who searches; None for the one of the plan's name. store: a folder of evaluations.
    """

    def __init__(
        self,
        path: Path,
        told: Told | None = None,
        agent: Agent | None = None,
        store: Path | None = None,
        workers: int = 1,
        ray: str | None = None,
    ) -> None:
        self.path = path
        manifest = read_manifest(path)
        self.plan = plan_of(manifest, str(path))
        if self.plan.terms is not None:
            raise RunError(
                f"{path} is the session of an agent that writes source; go on with the command "
                "that began it (m890 mcp, m890 agent) and --resume; nothing was changed"
            )
        try:
            self.agent = get_agent(self.plan.agent) if agent is None else agent
        except AgentError as error:
            raise RunError(f"{path}: {MANIFEST}: {error}; nothing was changed") from error
        shared = workers > 1 or ray is not None
        if shared:
            check_shared(self.agent, self.plan.task)
        self._logged, whole = read_lines(path)
        if len(self._logged) > self.plan.evaluations:
            raise RunError(
                f"{path} is damaged: {EVALUATIONS} has {len(self._logged)} evaluations of "
                f"{self.plan.evaluations}; nothing was changed"
            )
        broken = broken_link(manifest, self._logged)
        if broken is not None:
            raise RunError(
                f"{path}: evaluation {broken} of {EVALUATIONS} does not follow from what stands "
                f"before it (its {CHAIN}): the file was changed, or {MANIFEST} was; nothing was "
                "changed here"
            )
        self.times = Times(path, len(self._logged))
        self.store = None if store is None else TextStore(store)
        shelf = Shelf(self.store)
        self.ahead = Ahead(self.plan, shelf, workers, ray, store) if shared else None
        asked = Evaluations(shelf) if shared or self.store is not None else None
        self._memory: Memory = Verdicts(self._logged, self.times.clock, asked)
        self._told = told
        self._lines = Lines()
        self.saved: LogEntry | None = None  # the entry whose kernel is in best.py
        head = head_of(manifest, self._logged)
        self._log = Log(path, whole, len(self._logged), head)
        self.session: AgentSession | None = None

    @property
    def repeated(self) -> int:
        """Evaluations that were there already."""
        return len(self._logged)

    @property
    def head(self) -> str:
        """The chain's value after all lines."""
        return self._log.head

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
            **gate_settings(),
            memory=self._memory,
            told=self._tell,
            sources=False,
            ahead=self.ahead,
        )
        run_agent(self.agent, session, plan.seed)
        if session.spent < self.repeated:
            raise self._other(session.spent, "the agent ends before it")

    def close(self) -> None:
        """Give the directory free."""
        if self.ahead is not None:
            self.ahead.close()
        if self.store is not None:
            self.store.close()
        self._log.close()

    def save_best(self, entry: LogEntry, kernel: Kernel) -> None:
        """Replace best.py. Raises: RunError."""
        text = best_text(self.plan, entry, kernel)
        write_whole(self.path / BEST, text.encode("utf-8"))
        self.saved = entry

    def _tell(self, entry: LogEntry) -> None:
        line = self._lines.line(entry)
        if entry.index < self.repeated:
            text = differing(line, self._logged[entry.index])
            if text:
                raise self._other(entry.index, text)
        else:
            try:
                with self.times.clock.during("record"):
                    self._forget_result()
                    self._log.append(line)
                    self._keep_best()
                    self.times.evaluated(self._log.count)
            except RunError as error:
                raise self._stopped(error) from error
        if self._told is not None:
            self._told(entry, self._session.best_speedup)

    @property
    def _session(self) -> AgentSession:
        assert self.session is not None
        return self.session

    def _forget_result(self) -> None:
        """Remove the result of an interrupted run that now goes on: it would speak of less."""
        if self._log.count == self.repeated:
            with errors_of(self.path / RESULT, "remove"), contextlib.suppress(FileNotFoundError):
                (self.path / RESULT).unlink()

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


def optimize(
    path: Path | str,
    told: Told | None = None,
    agent: Agent | None = None,
    *,
    picture: bool = True,
    store: Path | str | None = None,
    workers: int = 1,
    ray: str | None = None,
) -> RunOutcome:
    """Run the plan of a run directory to its end, from wherever it is.

    agent: one of your own, under whatever name the plan has; None for the known one of that name.
    picture: whether it is drawn at the end.
    store: a folder of evaluations that runs share, made where it is missing (docs/scale.md).
    workers: processes that make and time what the agent foresees, ray: the address of a cluster for
    that; the record is the same for any number.
    told: called after every evaluation, also after those that are repeated. On Ctrl-C the run ends
    with the best so far, and can be resumed.
    Raises: RunError where the directory is damaged, foreign, in use or cannot be written; all that
    it held is still there. KeyboardInterrupt on Ctrl-C before anything is new. TypeError.
    """
    if not isinstance(path, (str, Path)):
        raise TypeError(f"path must be a text or a Path, not {described(path)}")
    if told is not None and not callable(told):
        raise TypeError(f"told must be a function or None, not {described(told)}")
    if agent is not None and not isinstance(agent, Agent):
        raise TypeError(f"agent must be an Agent or None, not {described(agent)}")
    if store is not None and not isinstance(store, (str, Path)):
        raise TypeError(f"store must be a text, a Path or None, not {described(store)}")
    path = Path(path)
    with errors_of(Path(f"{path!s:.200}"), "look for the run directory"):
        path.is_dir()  # a name that cannot be one is told before anything is read
    integer_of("workers", workers, 1)
    recorder = Recorder(
        path, told, agent, None if store is None else Path(store), workers=workers, ray=ray
    )
    try:
        try:
            recorder.search()
            outcome = _finish(recorder, interrupted=False)
        except KeyboardInterrupt:
            if recorder.repeating:
                raise
            outcome = _finish(recorder, interrupted=True)
        write_json(path / RESULT, outcome.as_dict())
        if picture:
            draw(path / PICTURE, outcome.plan, outcome.log)
        recorder.times.save()
    finally:
        recorder.close()
    return outcome


def check_shared(agent: Agent, task: Task) -> None:
    """Refuse workers where there is nothing for them to do. Raises: AgentError."""
    if not agent.foresees:
        known = ", ".join(one.name for one in AGENTS.values() if one.foresees)
        raise AgentError(
            f"agent {agent.name} chooses each kernel by what the one before it did, so that "
            f"workers have nothing to do; with --workers or --ray take --agent {known}, or let "
            "m890 bench share several runs among workers"
        )
    if task.origin:
        raise AgentError(
            f"workers do not know the task {task.name} from {task.origin!s:.200}; leave "
            "out --workers and --ray"
        )


def _finish(recorder: Recorder, interrupted: bool) -> RunOutcome:
    """Judge the best kernel in full; where it is wrong, the next best."""
    session = recorder.session
    assert session is not None

    def kernel_of(entry: LogEntry) -> Kernel:
        if entry is session.best and session.best_kernel is not None:
            return session.best_kernel
        session.restart()
        for edit in entry.edits:
            session.apply(edit)
        return session.kernel

    with recorder.times.clock.during("judgement"):
        outcome = finish(
            recorder.plan,
            recorder.path,
            session.log,
            session.best,
            kernel_of,
            recorder.head,
            interrupted,
        )
    if outcome.best is not None and outcome.kernel is not None:
        recorder.save_best(outcome.best, outcome.kernel)
    return outcome
