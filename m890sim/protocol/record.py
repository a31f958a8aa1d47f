"""Recording: a session in a run directory, from which it can go on at any time.

Beside what every run directory holds there is `calls.jsonl`, one line a call. Nothing else is kept:
a session goes on by doing its calls again with the verdicts of the log, and each answer must come
out as logged.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from m890sim.agents.chain import broken_link, head_of
from m890sim.agents.differences import difference
from m890sim.agents.files import (
    BEST,
    EVALUATIONS,
    PICTURE,
    RESULT,
    InUseError,
    Log,
    create,
    errors_of,
    read_lines,
    read_manifest,
    write_json,
    write_whole,
)
from m890sim.agents.lines import Lines, Verdicts
from m890sim.agents.outcome import RunOutcome, SessionEnd, best_text, finish
from m890sim.agents.picture import draw
from m890sim.agents.plan import Plan, plan_of
from m890sim.agents.reading import RunError
from m890sim.kernel.ir import Kernel
from m890sim.protocol.answers import Answer
from m890sim.protocol.log import (
    CALLS,
    INTERRUPTED,
    TURN,
    kept_arguments,
    kept_name,
    read_calls,
    said,
)
from m890sim.protocol.session import Progress, SourceSession
from m890sim.session import LogEntry, Memory

Clock = Callable[[], float]


class Recording:
    """A session that writes itself down: `call` and `turn` until `ended`, then `finish`.

    One process at a time has a directory; in it, any number of threads may call, one after the
    other. clock: seconds that only rise.
    Raises: RunError where the directory is damaged, foreign, in use, or cannot be written.
    """

    def __init__(self, path: Path | str, *, clock: Clock = time.monotonic) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._clock = clock
        manifest = read_manifest(self.path)
        self.plan = plan_of(manifest, str(self.path))
        if self.plan.terms is None:
            raise RunError(f"{self.path} is a run of m890 optimize; go on with it there")
        sizes = self._sizes()
        self._logged, whole = read_lines(self.path)
        calls, whole_calls = read_calls(self.path)
        for name, lines in ((EVALUATIONS, self._logged), (CALLS, calls)):
            broken = broken_link(manifest, lines)
            if broken is not None:
                raise RunError(
                    f"{self.path}: line {broken + 1} of {name} does not follow from what stands "
                    "before it: the file was changed, or the manifest was; nothing was changed here"
                )
        head = head_of(manifest, self._logged)
        self._log = Log(self.path, whole, len(self._logged), head)
        self._open = [self._log]
        try:
            head = head_of(manifest, calls)
            self._calls = Log(self.path, whole_calls, len(calls), head, CALLS)
            self._open.append(self._calls)
            if self._sizes() != sizes:
                raise InUseError(f"{self.path} was in use by another run until now")
        except BaseException:
            self.close()
            raise
        self._lines = Lines()
        self._saved: LogEntry | None = None
        self._broken = ""  # why this process may write no more: the files know less than it does
        self.last: Answer | None = None  # to the last call that the log has
        self._before = float(calls[-1]["seconds"]) if calls else 0.0
        self._began = clock()
        try:
            self.session = SourceSession(
                self.plan, memory=Verdicts(self._logged), counted=self._count
            )
            text = repeat(self.session, calls, self._logged, self._remember)
            if text:
                raise RunError(f"{self.path}: {text}; the file was changed, or m890sim was")
            self._rescue()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def begin(path: Path | str, plan: Plan, *, clock: Clock = time.monotonic) -> Recording:
        """Make the run directory of a new session. Raises: RunError where something is there."""
        create(Path(path), plan.manifest(), (EVALUATIONS, CALLS))
        return Recording(path, clock=clock)

    @property
    def ended(self) -> str:
        """Why the session is over; "" while it goes on."""
        return self.session.ended

    @property
    def seconds(self) -> float:
        """Since the session began, while it was served."""
        return self._before + max(0.0, self._clock() - self._began)

    @property
    def late(self) -> bool:
        """Whether the seconds of the session are over: the next call ends it."""
        return bool(self.session.terms.seconds) and self.seconds > self.session.terms.seconds

    @property
    def calls(self) -> int:
        """Lines of the log of calls, turns without a call among them."""
        return self._calls.count

    @property
    def call_head(self) -> str:
        """The chain's value after them."""
        return self._calls.head

    def call(self, tool: Any, arguments: Any = None, progress: Progress | None = None) -> Answer:
        """Call a tool and write it down. Raises: RunError where it cannot be written."""
        tool, arguments = kept_name(tool), kept_arguments(arguments)
        with self._lock, self._whole():
            if self.ended:
                return self.session.call(tool, arguments)
            self._forget_result()
            self.session.progress = progress
            late = self.late
            try:
                answer = self.session.call(tool, arguments, late=late)
            finally:
                self.session.progress = None
            self._write(tool, arguments, answer, late)
            return answer

    def turn(self) -> Answer:
        """A turn of the agent that called no tool."""
        with self._lock, self._whole():
            if self.ended:
                return self.session.turn()
            self._forget_result()
            late = self.late
            answer = self.session.turn(late=late)
            self._write(TURN, {}, answer, late)
            return answer

    def finish(self) -> RunOutcome:
        """Judge what was submitted, else the best kernel, and write the result.

        A session that goes on is ended by it. Nothing of the outcome is the agent's to see.
        Raises: RunError.
        """
        with self._lock, self._whole():
            session = self.session
            outcome = finish(
                self.plan,
                self.path,
                session.log,
                session.best,
                lambda entry: session.kernel(entry.index),
                self._log.head,
                interrupted=False,
                end=session_end(session, self._calls.count, self._calls.head),
            )
            if outcome.best is not None and outcome.kernel is not None:
                self._save_best(outcome.best, outcome.kernel)
            write_json(self.path / RESULT, outcome.as_dict())
            draw(self.path / PICTURE, self.plan, outcome.log)
            session.close("finished")
            return outcome

    def close(self) -> None:
        """Give the directory free; the session can be resumed. Closing twice is no mistake."""
        logs, self._open = self._open, []
        for log in logs:
            log.close()

    def _sizes(self) -> list[int]:
        """Bytes of the logs, to see whether somebody wrote them before they were locked."""
        with errors_of(self.path, "read the logs of"):
            return [(self.path / name).stat().st_size for name in (EVALUATIONS, CALLS)]

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """What is done while files and session agree; one that fails in between is the last.

        Raises: RunError where an earlier one failed.
        """
        if self._broken:
            raise RunError(
                f"{self.path} goes on only when it is opened again, because an earlier call "
                f"failed: {self._broken}"
            )
        try:
            yield
        except BaseException as error:
            self._broken = str(error) or type(error).__name__
            raise

    def _remember(self, answer: Answer) -> None:
        self.last = answer

    def _write(
        self, tool: str, arguments: Mapping[str, Any] | str, answer: Answer, late: bool
    ) -> None:
        self._calls.append(
            {
                "index": self._calls.count,
                "tool": tool,
                "arguments": arguments,
                "ok": answer.ok,
                "answer": answer.digest,
                "spent": len(self.session.log),
                "late": late,
                "seconds": round(self.seconds, 3),
            }
        )
        self.last = answer

    def _count(self, entry: LogEntry, source: str) -> None:
        line = self._lines.line(entry, source)
        if entry.index < len(self._logged):
            known = {key: value for key, value in self._logged[entry.index].items()}
            text = difference({k: v for k, v in known.items() if k != "chain"}, line)
            if text:
                raise RunError(
                    f"{self.path}: evaluation {entry.index} of {EVALUATIONS} is not what this "
                    f"version does again ({text}): the file was changed, or m890sim was; nothing "
                    "was changed here"
                )
            return
        self._log.append(line)
        session = getattr(self, "session", None)
        if session is None:  # the reference, the first of all
            if entry.accepted:
                self._save_best(entry, self.plan.start)
        elif session.best is not self._saved and session.best is not None:
            self._save_best(session.best, session.kernel(session.best.index))

    def _rescue(self) -> None:
        """Take up what a call had evaluated when it was killed before it was written down."""
        lost = self._logged[len(self.session.log) :]
        if not lost:
            return
        answer = self.session.interrupted(lost)
        self._write(INTERRUPTED, {"evaluations": len(lost)}, answer, False)

    def _save_best(self, entry: LogEntry, kernel: Kernel) -> None:
        write_whole(self.path / BEST, best_text(self.plan, entry, kernel).encode("utf-8"))
        self._saved = entry

    def _forget_result(self) -> None:
        """A result of an earlier end would speak of less."""
        if (self.path / RESULT).exists():
            (self.path / RESULT).unlink()


def session_end(session: SourceSession, calls: int, chain: str) -> SessionEnd:
    """How a session ended, for its result."""
    return SessionEnd(session.submitted, session.ended or "not submitted", calls, chain)


def repeat(
    session: SourceSession,
    calls: Sequence[Mapping[str, Any]],
    logged: Sequence[Mapping[str, Any]],
    told: Callable[[Answer], None] | None = None,
) -> str:
    """Do the calls of a log again; the first that does not come out as logged, "" where all do.

    told: called with every answer.
    """
    for number, line in enumerate(calls):
        tool, arguments = line["tool"], line["arguments"]
        if tool == TURN:
            answer = session.turn(late=line["late"])
        elif tool == INTERRUPTED:
            count = arguments.get("evaluations") if isinstance(arguments, dict) else None
            if type(count) is not int or count < 1:
                return f"call {number}: an interrupted call must say its evaluations"
            spent = len(session.log)
            answer = session.interrupted(logged[spent : spent + count])
        else:
            answer = session.call(tool, arguments, late=line["late"])
        found = {
            "index": number,
            "tool": tool,
            "arguments": arguments,
            "ok": answer.ok,
            "answer": answer.digest,
            "spent": len(session.log),
            "late": line["late"],
        }
        text = difference(said(line), found)
        if text:
            return f"call {number} ({tool[:40]}): {text}"
        if told is not None:
            told(answer)
    return ""


def replayed(
    plan: Plan,
    calls: Sequence[Mapping[str, Any]],
    logged: Sequence[Mapping[str, Any]],
    memory: Memory,
) -> tuple[str, SourceSession]:
    """All calls of a record done again: the first difference ("" for none), and the session."""
    session = SourceSession(plan, memory=memory)
    text = repeat(session, calls, logged)
    if not text and len(session.log) != len(logged):
        text = f"the calls make {len(session.log)} evaluations, the log has {len(logged)}"
    return text, session
