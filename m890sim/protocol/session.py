"""SourceSession: tools, budgets and stop rules around one KernelSession, as text in and text out.

It reads no clock and writes no file: for the same calls it gives the same answers on every machine.
Whoever serves it (`record.Recording`) says when the time is over and keeps the log.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from m890sim.agents.plan import Plan, gate_settings
from m890sim.errors import BelowLowerBoundError, BindError, LanguageError, LimitError, M890Error
from m890sim.kernel import digest, print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.messages import shown
from m890sim.protocol import description, documents
from m890sim.protocol.answers import Answer, entry_data, entry_text, failure_of
from m890sim.protocol.fitting import unfit
from m890sim.protocol.profiles import profile_text, suggested
from m890sim.protocol.telling import plain, told
from m890sim.protocol.tools import (
    CallError,
    check_arguments,
    read_arguments,
    replaced,
    tools_of,
)
from m890sim.session import BudgetError, KernelSession, LogEntry, Memory
from m890sim.workloads import Case

SOURCE_NAME = "<source>"  # of every text, where an error names a place
GAIN = 1.01  # over the best so far: less is none, for the rule of patience
MOST_SUGGESTED = 64  # evaluations of one call
_SUGGESTED = 8
MOST_TOLD = 60_000  # characters of a page or a profile at once

Counted = Callable[[LogEntry, str], None]  # (a new evaluation, its kernel's text)
Progress = Callable[[int, int, str], None]  # (steps done, steps in all, what comes next)


class SourceSession:
    """One session of an agent that writes source: `call` its tools until `ended`.

    counted: called with every new evaluation before it is told. memory: as for KernelSession.
    The reference (or the plan's start kernel) is evaluation 0, and counts.
    Raises: ValueError for a plan without terms.
    """

    def __init__(
        self, plan: Plan, *, memory: Memory | None = None, counted: Counted | None = None
    ) -> None:
        if plan.terms is None:
            raise ValueError("the plan has no terms; give Plan(..., terms=Terms())")
        self.plan, self.terms = plan, plan.terms
        self.tools = tools_of(plan.terms)
        self.ended = ""  # why it is over
        self.submitted: int | None = None  # the evaluation that was submitted
        self.calls = 0
        self.idle = 0  # turns without a call, in a row
        self._counted = counted
        self._session = KernelSession(
            plan.task,
            plan.cases,
            plan.chip,
            start=plan.start,
            budget=plan.evaluations,
            verify=plan.verify,
            **gate_settings(),
            memory=memory,
        )
        self._sources: list[str] = []
        self._kernels: list[Kernel] = []
        self._last = print_kernel(plan.start)  # the text that was handed in last
        self._mark, self._marked = 0, 1.0  # the last evaluation that gained, and its speedup
        self.progress: Progress | None = None
        self._evaluate(print_kernel(plan.start))

    # What it came to, for those who serve it.

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """Every evaluation that counted, in order."""
        return self._session.log

    @property
    def best(self) -> LogEntry | None:
        """The best right evaluation so far."""
        return self._session.best

    @property
    def best_speedup(self) -> float:
        """Of `best`; 1.0 where there is none."""
        return self._session.best_speedup

    @property
    def chosen(self) -> LogEntry | None:
        """What the final judgement is about: the submitted evaluation, else the best one."""
        return self.best if self.submitted is None else self.log[self.submitted]

    def kernel(self, index: int) -> Kernel:
        """The kernel of an evaluation."""
        return self._kernels[index]

    def source(self, index: int) -> str:
        """The text of an evaluation, as it was handed in."""
        return self._sources[index]

    @property
    def last_source(self) -> str:
        """The text that was handed in last, at first the plan's start: what `replace` changes."""
        return self._last

    @property
    def left(self) -> dict[str, int]:
        """Evaluations and calls that may still be spent."""
        spent = self._session.spent
        return {
            "evaluations": max(0, self.plan.evaluations - spent),
            "calls": max(0, self.terms.calls - self.calls),
        }

    # What an agent does.

    def call(self, tool: Any, arguments: Any = None, *, late: bool = False) -> Answer:
        """Call a tool. Every call counts, wrong ones too; never raises for what an agent says.

        arguments: an object, or its JSON text. late: the time of the session was over before.
        Raises: BelowLowerBoundError, a defect of the simulator.
        """
        if self.ended:
            return Answer(False, f"the session is over: {self.ended}", ended=self.ended)
        self.calls, self.idle = self.calls + 1, 0
        if late:
            self.ended = f"its {self.terms.seconds} seconds are over"
            return self._answer(False, f"the session is over: {self.ended}", {})
        try:
            ok, text, data = self._do(tool, read_arguments(arguments))
        except CallError as error:
            ok, text, data = False, str(error), {}
        self._stop()
        return self._answer(ok, text, data)

    def turn(self, *, late: bool = False) -> Answer:
        """A turn of the agent that called no tool. late: as for `call`."""
        if self.ended:
            return Answer(False, f"the session is over: {self.ended}", ended=self.ended)
        self.idle += 1
        if late:
            self.ended = f"its {self.terms.seconds} seconds are over"
        elif self.idle >= self.terms.turns:
            self.ended = f"{self.idle} turns in a row called no tool"
        return self._answer(
            False, "No tool was called. Call one, or end the session with submit.", {}
        )

    def interrupted(self, lines: Sequence[Mapping[str, Any]]) -> Answer:
        """What a call had evaluated when it was killed: lines of the log, taken up again.

        Raises: M890Error, KeyError for what are no lines of a session.
        """
        for line in lines:
            source = line["source"]
            kernel = parse(source, filename=SOURCE_NAME)
            if "profile" in line:
                case = self._case(0, line["profile"]["case"])
                known = [each.digest for each in self.log].index(line["digest"])
                self._count_profile(known, case)
            else:
                self._evaluate(source, kernel)
        self.calls += 1
        self._stop()
        return self._answer(False, "The call was interrupted; its evaluations count.", {})

    def close(self, reason: str) -> None:
        """End it from outside: whoever plays it is gone."""
        self.ended = self.ended or reason

    def _answer(self, ok: bool, text: str, data: dict[str, Any]) -> Answer:
        if self.ended and not text.startswith("the session is over"):
            text += f"\nThe session is over: {self.ended}."
        return Answer(ok, text, data, self.ended, self.left)

    def _stop(self) -> None:
        """End the session where a rule or a budget says so."""
        patience = self.terms.patience
        if self.ended:
            return
        if patience and self._session.spent - 1 - self._mark >= patience:
            self.ended = f"{patience} evaluations brought no gain of more than 1%"
        elif self.calls >= self.terms.calls:
            self.ended = f"its {self.terms.calls} calls are spent"

    def _do(self, name: Any, arguments: dict[str, Any]) -> tuple[bool, str, dict[str, Any]]:
        if not isinstance(name, str) or name not in self.tools:
            known = ", ".join(self.tools)
            raise CallError(f"there is no tool {shown(str(name))!r}; the tools are {known}")
        tool = self.tools[name]
        check_arguments(tool, arguments)
        given = {key: value for key, value in arguments.items() if value is not None}
        method: Callable[..., tuple[bool, str, dict[str, Any]]] = getattr(self, f"_{name}")
        return method(**given)

    # The tools, each with the arguments of its row in TOOLS.

    def _read_task(self) -> tuple[bool, str, dict[str, Any]]:
        cycles = tuple(each.reference_cycles for each in self.log[0].cases)
        data = description.task_data(self.plan, cycles)
        return True, description.task_text(data), data

    def _read_reference(self, evaluation: int = 0) -> tuple[bool, str, dict[str, Any]]:
        number = self._number(evaluation)
        source = self._sources[number]
        return True, source, {"evaluation": number, "source": source}

    def _read_docs(self, page: str | None = None) -> tuple[bool, str, dict[str, Any]]:
        pages = documents.pages_of(self.terms.docs)
        if not pages:
            return False, "this session has no documentation; read the reference", {"pages": {}}
        if page is None:
            text = "\n".join(f"{name}: {what}" for name, what in pages.items())
            return True, text, {"pages": pages}
        if page not in pages:
            raise CallError(f"there is no page {shown(page)!r}; the pages are {', '.join(pages)}")
        text = documents.page(page, self.plan.chip)
        return True, text[:MOST_TOLD], {"page": page}

    def _check(self, **given: Any) -> tuple[bool, str, dict[str, Any]]:
        _, wrong = self._checked(self._text(**given))
        if wrong:
            return False, wrong, {"well_formed": False}
        return True, "Well formed, and fits on every public case. Not run.", {"well_formed": True}

    def _test(self, **given: Any) -> tuple[bool, str, dict[str, Any]]:
        source = self._text(**given)
        kernel, wrong = self._checked(source)
        if kernel is None:
            return False, f"Refused, nothing was spent:\n{wrong}", {"well_formed": False}
        known = self._session.knows(digest(kernel))
        self._afford(0 if known else 1)
        entry = self._evaluate(source, kernel)
        data = entry_data(entry, known)
        why = plain(entry.code, failure_of(entry), self.terms, source)
        text = entry_text(entry, data, why, self.best_speedup)
        return True, text, data | {"message": "" if entry.correct else why}

    def _profile(
        self, evaluation: int | None = None, case: str | None = None
    ) -> tuple[bool, str, dict[str, Any]]:
        number = self._number(evaluation)
        chosen = self._case(number, case)
        self._count_profile(number, chosen)
        text, data = profile_text(
            self._kernels[number], self._sources[number], chosen, self.plan.chip
        )
        return True, text[:MOST_TOLD], {"evaluation": number} | data

    def _suggest(
        self, evaluation: int | None = None, case: str | None = None, most: int = _SUGGESTED
    ) -> tuple[bool, str, dict[str, Any]]:
        number = self._number(evaluation)
        most = min(most, MOST_SUGGESTED)
        self._afford(1)
        chosen = self._case(number, case)
        found = suggested(
            self._kernels[number], self._sources[number], chosen, self.plan.task, self.plan.chip
        )
        tried: list[dict[str, Any]] = []
        counted = 0
        for each in found:
            if counted >= most or not self.left["evaluations"]:
                break
            if self._session.knows(digest(each.kernel)) or self._unfit(each.kernel):
                continue
            source = print_kernel(each.kernel)
            if len(source) > self.terms.source:
                continue
            if self.progress is not None:
                self.progress(counted, most, each.what)
            entry = self._evaluate(source)
            counted += 1
            tried.append(
                {
                    "evaluation": entry.index,
                    "edit": each.what,
                    "places": len(each.edits),
                    "lines": list(each.lines),
                    "correct": entry.correct is True,
                    "speedup": entry.speedup,
                    "cycles": entry.cycles,
                    "reason": each.reason,
                }
            )
        tried.sort(key=lambda one: -float(one["speedup"]))
        before = self.log[number].speedup
        lines = [f"From evaluation {number} ({before:.3f}x), {counted} evaluations spent:"]
        for one in tried:
            right = "" if one["correct"] else " WRONG"
            lines.append(
                f"    evaluation {one['evaluation']}: {one['speedup']:.3f}x{right}: {one['edit']} "
                f"({one['places']} places, lines {', '.join(map(str, one['lines'][:6]))})"
                + (f"; {one['reason']}" if one["reason"] else "")
            )
        if not tried:
            lines.append("    no edit that was not evaluated already")
        return True, "\n".join(lines), {"from": number, "tried": tried}

    def _diff(self, old: int = 0, new: int | None = None) -> tuple[bool, str, dict[str, Any]]:
        first, second = self._number(old), self._number(new)
        lines = difflib.unified_diff(
            self._sources[first].splitlines(),
            self._sources[second].splitlines(),
            f"evaluation {first}",
            f"evaluation {second}",
            lineterm="",
        )
        text = "\n".join(lines)
        return True, text[:MOST_TOLD] or "The texts are the same.", {"old": first, "new": second}

    def _status(self) -> tuple[bool, str, dict[str, Any]]:
        best = self.best
        left = self.left
        log = self.log
        data = {
            "evaluations": {"spent": len(log), "left": left["evaluations"]},
            "calls": {"spent": self.calls, "left": left["calls"]},
            "best": None if best is None else best.index,
            "best_speedup": self.best_speedup,
            "right": sum(entry.correct is True for entry in log),
            "since_gain": len(log) - 1 - self._mark,
        }
        name = "none" if best is None else f"evaluation {best.index}, {best.speedup:.3f}x"
        text = (
            f"Evaluations: {len(log)} spent, {left['evaluations']} left; {data['right']} right. "
            f"Calls: {self.calls} spent, {left['calls']} left. Best: {name}. "
            f"Evaluations since the last gain of more than 1%: {data['since_gain']}."
        )
        return True, text, data

    def _submit(self, evaluation: int | None = None) -> tuple[bool, str, dict[str, Any]]:
        if evaluation is None:
            if self.best is None:
                raise CallError("no kernel was right, so there is nothing to submit; test one")
            evaluation = self.best.index
        number = self._number(evaluation)
        self.submitted, self.ended = number, "submitted"
        return True, f"Evaluation {number} is submitted.", {"evaluation": number}

    # Shared by the tools.

    def _number(self, evaluation: int | None) -> int:
        last = len(self._sources) - 1
        number = last if evaluation is None else evaluation
        if number > last:
            raise CallError(f"there is no evaluation {number}; the last one is {last}")
        return number

    def _case(self, number: int, name: str | None) -> Case:
        cases = self.plan.cases
        if name is not None:
            for case in cases:
                if case.name == name:
                    return case
            known = ", ".join(case.name for case in cases)
            raise CallError(f"there is no case {shown(name)!r}; the cases are {known}")
        timed = {each.case: each.cycles or 0 for each in self.log[number].cases}
        return max(cases, key=lambda case: timed[case.name])

    def _afford(self, evaluations: int) -> None:
        if evaluations > self.left["evaluations"]:
            raise CallError(
                f"the {self.plan.evaluations} evaluations are spent; end the session with submit"
            )

    def _text(
        self,
        source: str | None = None,
        replace: list[dict[str, str]] | None = None,
        base: int | None = None,
    ) -> str:
        """The text that a call hands in."""
        if (source is None) == (replace is None):
            raise CallError("give either source, the whole text, or replace, changes of a text")
        if source is None:
            before = self._last if base is None else self._sources[self._number(base)]
            source = replaced(before, replace or [])
        elif base is not None:
            raise CallError("base belongs to replace; leave it out where source is given")
        if len(source) > self.terms.source:
            raise CallError(
                f"the source has {len(source):,} characters, this session takes "
                f"{self.terms.source:,}; write a shorter one"
            )
        self._last = source
        return source

    def _checked(self, source: str) -> tuple[Kernel | None, str]:
        """The kernel of a text that is well formed and fits; or what is wrong."""
        try:
            kernel = parse(source, filename=SOURCE_NAME)
            self._session.load(kernel)
        except (LanguageError, LimitError) as error:
            return None, told(error, self.terms, source)
        except M890Error as error:
            return None, str(error)
        wrong = self._unfit(kernel)
        if wrong:
            return None, f"{wrong[0]}: {told(wrong[1], self.terms, source)}"
        return kernel, ""

    def _unfit(self, kernel: Kernel) -> tuple[str, BindError | LimitError] | None:
        return unfit(kernel, self.plan.cases, self.plan.chip)

    def _evaluate(self, source: str, kernel: Kernel | None = None) -> LogEntry:
        """Evaluate a text, and write it down where it counts."""
        session = self._session
        spent = session.spent
        if spent:
            session.load(parse(source, filename=SOURCE_NAME) if kernel is None else kernel)
        try:
            entry = session.evaluate()
        except BelowLowerBoundError:
            if session.spent > spent:
                self._keep(session.log[-1], source)
            raise
        if session.spent > spent:
            self._keep(entry, source)
        return entry

    def _count_profile(self, number: int, case: Case) -> None:
        """Spend what a profile of an evaluation costs, once."""
        session = self._session
        spent = session.spent
        session.load(self._kernels[number])
        try:
            session.profile(case)
        except BudgetError:
            self._afford(1)
            raise
        except (BindError, LimitError) as error:
            why = told(error, self.terms, self._sources[number])
            raise CallError(f"evaluation {number} cannot be profiled: {why}") from None
        if session.spent > spent:
            self._keep(session.log[-1], self._sources[number])

    def _keep(self, entry: LogEntry, source: str) -> None:
        self._sources.append(source)
        self._kernels.append(self._session.kernel)
        if entry.index == 0 or (entry.accepted and entry.speedup > self._marked * GAIN):
            self._mark, self._marked = entry.index, entry.speedup
        if self._counted is not None:
            self._counted(entry, source)
