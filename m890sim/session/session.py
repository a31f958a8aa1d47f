"""KernelSession: a kernel being worked on against a task, by anyone or anything.

Gym-free: environments, search agents and language-model loops are thin layers over it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from m890sim.chip import ChipSpec
from m890sim.digests import digest_of
from m890sim.errors import BelowLowerBoundError, M890Error
from m890sim.judge.arguments import cases_of, distributions_of
from m890sim.judge.evaluation import package_version
from m890sim.kernel.ir import Kernel
from m890sim.language import check_built
from m890sim.messages import described
from m890sim.schedule import Edit, EditError
from m890sim.schedule.macros import MOST_STATEMENTS
from m890sim.session.arguments import chip_of, choice_of, count_of, kernel_of, seed_of, task_of
from m890sim.session.copies import Copies
from m890sim.session.edits import edit_to_data
from m890sim.session.fullness import fullness_of
from m890sim.session.memory import GateSettings, Memory, Space, State
from m890sim.session.records import LogEntry, ProfileNote
from m890sim.timing import TIMING_VERSION, Timing
from m890sim.workloads import DISTRIBUTIONS, Case, Task

VERIFY = ("best", "gains", "always", "never")
_STRENGTH = {"never": 0, "gains": 1, "best": 2, "always": 3}

_KEPT = 64  # of a path's last states, where macros were performed
_SNAPSHOT = 11  # parts of a snapshot

# The kernel that was loaded, then one state an edit; None for those in the middle of several edits
# that were made at once: they are made again where they are needed.
_Path = tuple[State | None, ...]

T = TypeVar("T")


class BudgetError(M890Error):
    """An evaluation beyond the session's budget."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a session to come back to: a kernel and the edits that led to it."""

    edits: tuple[Edit, ...]
    _space: Space
    _path: _Path

    @property
    def kernel(self) -> Kernel:
        """The kernel there."""
        return _end(self._path).kernel


class KernelSession:
    """One kernel being worked on against a task: edit, evaluate, undo.

    task, cases (all where None), chip: what kernels are measured on. start: the kernel to begin
    with, the task's reference where None. budget: evaluations that may be spent, None for no end.

    What counts: every `evaluate()` of a kernel that this session has not evaluated before (kernels
    are the same where their digests are: comments do not matter), also of one that fails and of
    one that `memory` knows. Asking again about the same kernel is free and adds nothing to the log.
    So does every `profile()` of a kernel and case that was not asked for before.

    verify, whether the functional gate (`judge.evaluate` on every case) runs:

    - "best": when a kernel would be the best so far; it counts as best only if it passes;
    - "gains": the same, but that only kernels faster than the task's reference count as best, so
      that no others are asked: the reference is right, and its check takes most of a short episode;
    - "always": at every evaluation;
    - "never": no kernel is checked, and one that can be timed may count as best.

    seed, distributions (all where None): the inputs of the gate. rows: how many rows of output it
    looks at on each distribution, drawn from case, seed and distribution; None for every row.

    What it measures by (task, chip, cases, budget, verify, gate) is fixed when it is made. Whoever
    holds a session is trusted with it; `m890sim.session.Facade` is for those who are not.

    memory: share one between sessions to save time; it changes no result. A session belongs to one
    thread at a time, a Memory to any number.
    Raises: TaskError, ChipError, LanguageError, LimitError for what is refused; ValueError.
    """

    __slots__ = (
        "_accepted",
        "_best",
        "_budget",
        "_edits",
        "_gate",
        "_log",
        "_memory",
        "_path",
        "_profiled",
        "_seen",
        "_space",
        "_verify",
    )

    def __init__(
        self,
        task: Task | str,
        cases: Iterable[Case | str] | None = None,
        chip: ChipSpec | str = "m890",
        *,
        start: Kernel | str | Path | None = None,
        budget: int | None = None,
        verify: str = "best",
        seed: int = 0,
        distributions: Sequence[str] | None = None,
        rows: int | None = None,
        memory: Memory | None = None,
    ) -> None:
        budget = count_of("budget", budget, 0)
        chosen, spec = task_of(task), chip_of(chip)
        if memory is not None and not isinstance(memory, Memory):
            raise TypeError(f"memory must be a Memory or None, not {described(memory)}")
        self._memory = memory if memory is not None else Memory()
        self._budget = budget
        self._verify = choice_of("verify", verify, VERIFY)
        names = distributions_of(distributions)
        self._gate = GateSettings(seed_of(seed), names, count_of("rows", rows, 1))
        self._space = self._memory.space(chosen, spec, cases_of(chosen, cases))
        self._log: list[LogEntry] = []
        self._seen: dict[str, int] = {}  # digest -> index in the log
        self._profiled: set[tuple[str, str]] = set()  # digest, case: profiles that were counted
        self._accepted: dict[int, Kernel] = {}  # index in the log -> kernel that may be the best
        self._best: int | None = None  # index in the log
        self._path: _Path = ()
        self._edits: tuple[Edit, ...] = ()
        self.load(chosen.start_on(spec) if start is None else start)

    # What it measures by.

    @property
    def memory(self) -> Memory:
        """What it shares with other sessions."""
        return self._memory

    @property
    def budget(self) -> int | None:
        """Evaluations that may be spent; None for no end."""
        return self._budget

    @property
    def verify(self) -> str:
        """When the gate runs: "best", "gains", "always" or "never"."""
        return self._verify

    @property
    def gate(self) -> GateSettings:
        """The inputs that the gate takes, and how many rows it looks at."""
        return self._gate

    # What is being worked on.

    @property
    def task(self) -> Task:
        """The task."""
        return self._space.task

    @property
    def chip(self) -> ChipSpec:
        """The chip."""
        return self._space.chip

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that an evaluation times, in order."""
        return self._space.cases

    @property
    def kernel(self) -> Kernel:
        """The kernel as it is now."""
        return _end(self._path).kernel

    @property
    def digest(self) -> str:
        """Digest of the kernel as it is now."""
        return _end(self._path).digest

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits since the kernel was loaded, first to last."""
        return self._edits

    def load(self, kernel: Kernel | str | Path) -> None:
        """Go on with another kernel: a Kernel, a built-in name or a path.

        The edits begin anew; log, budget and best stay.
        Raises: TaskError for an unknown name or a kernel that does not fit the task, LanguageError
        or LimitError for a refused text. The session is then as before.
        """
        chosen = kernel_of(kernel, self.chip)
        if chosen is kernel:
            # Its maker may hold it still, and what no text can say need not even have a digest.
            chosen = Copies().kernel(chosen)
            check_built(chosen)
        state = self.memory.state(self._space, self.memory.shared(chosen))
        self.memory.check(self._space, state)
        self._path, self._edits = (state,), ()

    def restart(self) -> None:
        """Go back to the kernel that was loaded."""
        self._path, self._edits = self._path[:1], ()

    # Edits.

    def legal_edits(self, name: str | None = None) -> tuple[Edit, ...]:
        """Every edit that `apply` takes now, in the order of EDITS, then of the text.

        name: only those of that name, which takes less time. Raises: EditError for an unknown name.
        """
        return self.memory.edits(self._space, _end(self._path), name)

    def apply(self, edit: Edit) -> Kernel:
        """Edit the kernel and return it.

        The result is taken as the edit's preconditions promise it; the gate checks it in full.
        Raises: EditError, saying which precondition failed and where; TypeError for what is no
        edit. Nothing has changed then.
        """
        state = self.memory.successor(self._space, _end(self._path), edit)
        self._path = (*self._path, state)
        self._edits = (*self._edits, edit)
        return state.kernel

    def perform(self, action: int, most: int = MOST_STATEMENTS) -> tuple[Edit, ...]:
        """Apply a macro action (`schedule.macros`); the edits that were made, in order.

        most: statements that it may make the kernel have; places that are too much are skipped.

        Raises: EditError where it is legal at no place; TypeError, ValueError for what is no macro
        action. Nothing has changed then.
        """
        edits, state = self.memory.performed(self._space, _end(self._path), action, most)
        path = (*self._path, *(None,) * (len(edits) - 1), state)
        # Kernels after macros share little, so that a long walk would keep hundreds of them alive.
        forgotten = max(0, len(path) - 1 - _KEPT)
        self._path = (path[0], *(None,) * forgotten, *path[1 + forgotten :])
        self._edits = (*self._edits, *edits)
        return edits

    def attempt(self, edit: Edit) -> bool:
        """Edit the kernel where that is legal; whether it was. Raises: TypeError for no edit."""
        try:
            self.apply(edit)
        except EditError:
            return False
        return True

    def undo(self) -> Edit:
        """Take back the last edit and return it; evaluations stay spent.

        Raises: ValueError where no edit was made since the kernel was loaded.
        """
        if not self._edits:
            raise ValueError("nothing to undo: no edit was made since the kernel was loaded")
        last = self._edits[-1]
        self._path, self._edits = self._path[:-1], self._edits[:-1]
        if self._path[-1] is None:
            known = max(place for place, state in enumerate(self._path) if state is not None)
            state = _end(self._path[: known + 1])
            for edit in self._edits[known:]:
                state = self.memory.successor(self._space, state, edit)
            self._path = (*self._path[:-1], state)
        return last

    def position(self) -> Position:
        """This place, to come back to with `go_to`; costs nothing."""
        return Position(self._edits, self._space, self._path)

    def go_to(self, position: Position) -> None:
        """Go on from a place of this session, or of one with the same task, chip and memory.

        Log, budget and best stay. Raises: ValueError for a place of another kind of session.
        """
        if not isinstance(position, Position):
            raise TypeError(f"position must be a Position, not {described(position)}")
        if position._space is not self._space:
            raise ValueError(
                "the position belongs to a session with another task, cases, chip or memory"
            )
        self._path, self._edits = position._path, position.edits

    def remember(self, key: Hashable, make: Callable[[Kernel], T]) -> T:
        """`make(kernel)`, worked out once for a kernel and kept in the memory.

        For what follows from the kernel, the task, the cases and the chip alone: masks, features.
        The value is shared by all sessions and must not be changed. Raises: TypeError for a key
        without a hash, or a `make` that is no function.
        """
        state = _end(self._path)
        try:
            known = key in state.extras
        except TypeError:
            raise TypeError(f"key must be hashable, not {described(key)}") from None
        if not known:
            if not callable(make):
                raise TypeError(f"make must be a function of a kernel, not {described(make)}")
            state.extras[key] = make(state.kernel)
        value: T = state.extras[key]
        return value

    @property
    def fullness(self) -> float:
        """The share of SRAM or ACC that the kernel's tiles take at most (`fullness_of`).

        Worked out from declarations and sizes: nothing is timed, nothing counts.
        """
        return self.remember("fullness", lambda it: fullness_of(it, self.chip, self.cases))

    def watch(self, case: Case | str) -> None:
        """Keep a trace of this case when a kernel is timed on it, for the next `traced`.

        All sessions of the memory share this; it changes no result. Raises: TypeError, ValueError
        for what is none of the session's cases.
        """
        self.memory.watch(self.own_case(case))

    def traced(self, case: Case | str) -> Timing:
        """The kernel's run of a case with every instruction recorded (`Timing.trace`).

        Raises: BindError, LimitError where the kernel cannot be timed; TypeError, ValueError for
        what is none of the session's cases.
        """
        return self.memory.traced(self._space, _end(self._path), self.own_case(case))

    def own_case(self, case: Case | str) -> Case:
        """One of the session's cases, by itself or by its name. Raises: TypeError, ValueError."""
        if not isinstance(case, (str, Case)):
            raise TypeError(f"a case must be a Case or its name, not {described(case)}")
        for known in self.cases:
            if case is known or case == known or case == known.name:
                return known
        names = ", ".join(known.name for known in self.cases)
        found = case if isinstance(case, str) else case.name
        raise ValueError(f"the session times {names}; {described(found)} is none of these cases")

    # Evaluations.

    @property
    def spent(self) -> int:
        """Evaluations that counted so far; the length of the log."""
        return len(self._log)

    @property
    def left(self) -> int | None:
        """Evaluations that may still be spent; None for no end."""
        return None if self._budget is None else max(0, self._budget - len(self._log))

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """Every evaluation that counted, in order."""
        return tuple(self._log)

    @property
    def best(self) -> LogEntry | None:
        """The best evaluation so far, the first of equal ones; None before any may count."""
        return None if self._best is None else self._log[self._best]

    @property
    def best_kernel(self) -> Kernel | None:
        """The kernel of `best`."""
        return None if self._best is None else self._accepted[self._best]

    @property
    def best_speedup(self) -> float:
        """Speedup of `best`; 1.0, the reference's own, where there is none."""
        return 1.0 if self._best is None else self._log[self._best].speedup

    def knows(self, digest: str) -> bool:
        """Whether the kernel of that digest was evaluated. Raises: TypeError."""
        if not isinstance(digest, str):
            raise TypeError(f"digest must be a text, as `digest` gives it, not {described(digest)}")
        return digest in self._seen

    def evaluate(self, verify: str | None = None) -> LogEntry:
        """Time the kernel on every case, and check its values as `verify` says.

        verify: None for the session's own, or a stricter one: "never", "gains", "best", "always".
        A kernel that fails (refused by the language, does not fit chip or case, traps, breaks a
        limit, gives wrong values) is an evaluation too: speedup 1.0, with code and message, and
        never the best. Asked again about a kernel, it gives what it gave before, and runs the gate
        only where `verify` now wants it and it has not run yet.
        Raises: BudgetError where nothing is left; ValueError for a weaker `verify`;
        BelowLowerBoundError.
        """
        mode = self._verify if verify is None else choice_of("verify", verify, VERIFY)
        if _STRENGTH[mode] < _STRENGTH[self._verify]:
            raise ValueError(
                f"this session has verify={self._verify!r}, and {mode!r} checks less; "
                f"make a session with verify={mode!r} for that"
            )
        state = _end(self._path)
        index = self._seen.get(state.digest)
        if index is None:
            self._check_budget()
            outcome = self.memory.outcome(self._space, state)
            entry = LogEntry(
                index=len(self._log),
                digest=state.digest,
                start=_end(self._path[:1]).digest,
                edits=self._edits,
                outcome=outcome,
                correct=None if outcome.product is not None else False,
                accepted=mode == "never" and outcome.product is not None,
                code=outcome.code,
                message=outcome.message,
            )
        else:
            entry = self._log[index]
        try:
            settled = self._settle(entry, state, mode)
        except BelowLowerBoundError as error:
            if index is None:  # the message tells the cycles, so it counts
                self._seen[state.digest] = len(self._log)
                self._log.append(replace(entry, message=str(error)))
            raise
        if index is None:
            self._seen[state.digest] = len(self._log)
            self._log.append(settled)
        elif settled is entry:
            return entry
        else:
            self._log[index] = settled
        if settled.accepted or entry.accepted:
            self._keep_best(settled, state.kernel)
        return settled

    def profile(self, case: Case | str) -> dict[str, Any]:
        """Where the kernel's cycles go on a case: the object of docs/profile.md, without what-ifs.

        Of a kernel that was evaluated. It counts as one evaluation more and is noted in the log, by
        its digest; asked for again it is free. What-ifs are left out as each of them is a timing of
        its own. Lines are those of `print_kernel(kernel)`.
        Raises: ValueError where the kernel was not evaluated yet, or for what is none of the
        session's cases; BudgetError where nothing is left; BindError, LimitError, LanguageError
        where the kernel cannot be timed, which costs nothing; TypeError.
        """
        chosen, state = self.own_case(case), _end(self._path)
        index = self._seen.get(state.digest)
        if index is None:
            raise ValueError(
                "a profile explains a timing, and this kernel was not evaluated yet; call "
                "evaluate() first"
            )
        key, known = (state.digest, chosen.name), self._log[index]
        if key not in self._profiled:
            self._check_budget()
        data: dict[str, Any] = json.loads(self.memory.profile(self._space, state, chosen))
        if key not in self._profiled:
            self._profiled.add(key)
            note = ProfileNote(chosen.name, digest_of(data))
            start = _end(self._path[:1]).digest
            entry = replace(known, index=len(self._log), start=start, edits=self._edits)
            self._log.append(replace(entry, accepted=False, profile=note))
        return data

    def _check_budget(self) -> None:
        """Raises: BudgetError where nothing is left."""
        if self._budget is not None and len(self._log) >= self._budget:
            raise BudgetError(
                f"the budget of {self._budget} evaluations is spent; "
                "start a session with a larger budget"
            )

    def _settle(self, entry: LogEntry, state: State, mode: str) -> LogEntry:
        """The entry, with the gate's verdict where the mode asks for it."""
        if entry.correct is not None:
            return entry
        if (
            mode == "always"
            or (mode == "best" and self._would_be_best(entry))
            or (mode == "gains" and self._gains(entry) and self._would_be_best(entry))
        ):
            verdict = self.memory.verdict(self._space, state, self._gate)
            return replace(
                entry,
                correct=verdict.correct,
                accepted=verdict.correct,
                code=verdict.code,
                message=verdict.message,
            )
        if mode == "never" and not entry.accepted:
            return replace(entry, accepted=True)
        return entry

    def _gains(self, entry: LogEntry) -> bool:
        """Whether a kernel is faster than the reference, in the mean of the cases."""
        return _product(entry) < math.prod(self._space.reference_cycles)

    def _would_be_best(self, entry: LogEntry) -> bool:
        if self._best is None or self._best == entry.index:
            return True
        return _product(entry) < _product(self._log[self._best])

    def _keep_best(self, entry: LogEntry, kernel: Kernel) -> None:
        """Make the entry the best where it is; find another where the best turned out wrong."""
        if entry.accepted:
            self._accepted.setdefault(entry.index, kernel)
            if self._best is None or (_product(entry), entry.index) < (
                _product(self._log[self._best]),
                self._best,
            ):
                self._best = entry.index
            return
        self._accepted.pop(entry.index, None)
        if self._best == entry.index:
            order = sorted(self._accepted, key=lambda index: (_product(self._log[index]), index))
            self._best = order[0] if order else None

    # The session as a whole.

    def clone(self, *, budget: int | None = None) -> KernelSession:
        """An independent copy with the same memory, in microseconds; its budget is its own.

        budget: of the copy; None for the same as this one's.
        """
        other = KernelSession.__new__(KernelSession)
        other._memory, other._verify = self._memory, self._verify
        other._budget = self._budget if budget is None else count_of("budget", budget, 0)
        other._gate, other._space = self._gate, self._space
        other._log, other._seen = self._log.copy(), self._seen.copy()
        other._profiled = self._profiled.copy()
        other._accepted, other._best = self._accepted.copy(), self._best
        other._path, other._edits = self._path, self._edits
        return other

    def blank(self) -> KernelSession:
        """A session at the loaded kernel with the same memory, an empty log and no budget."""
        other = self.clone(budget=0)
        other._log, other._seen, other._profiled = [], {}, set()
        other._accepted, other._best = {}, None
        other.restart()
        return other

    def warm(self, best: int | None) -> None:
        """Let the memory find out what an evaluation will ask; nothing is told or spent.

        best: the product of the best cycles so far; the gate is asked about what lies below. None:
        about all. Raises: TypeError, ValueError; what the evaluation itself will raise again.
        """
        best = count_of("best", best, 0)
        state = _end(self._path)
        product = self.memory.outcome(self._space, state).product
        if self._verify != "never" and product is not None and (best is None or product < best):
            with suppress(BelowLowerBoundError):
                self.memory.verdict(self._space, state, self._gate)

    def snapshot(self) -> tuple[Any, ...]:
        """All of the session but its memory, for `restored`; what pickles hold."""
        space, gate = self._space, self._gate
        fixed = (space.task, space.cases, space.chip, self._budget, self._verify, gate)
        spent = (tuple(self._log), dict(self._accepted), self._best)
        kernels = tuple(None if state is None else state.kernel for state in self._path)
        return (*fixed, *spent, kernels, self._edits)

    @staticmethod
    def restored(snapshot: tuple[Any, ...], memory: Memory | None = None) -> KernelSession:
        """The session of a snapshot, with all that it had spent; it then goes its own way.

        Raises: TypeError for what is no snapshot.
        """
        if not isinstance(snapshot, tuple) or len(snapshot) != _SNAPSHOT:
            raise TypeError(f"snapshot must be what snapshot() gave, not {described(snapshot)}")
        task, cases, chip, budget, verify, gate, log, accepted, best, path, edits = snapshot
        made = KernelSession(
            task,
            cases,
            chip,
            start=path[0],
            budget=budget,
            verify=verify,
            seed=gate.seed,
            distributions=gate.distributions,
            rows=gate.rows,
            memory=memory,
        )
        made._path = tuple(
            None if kernel is None else made.memory.state(made._space, kernel) for kernel in path
        )
        made._edits, made._log, made._accepted, made._best = edits, list(log), accepted, best
        made._seen = {entry.digest: entry.index for entry in log if entry.profile is None}
        made._profiled = {(e.digest, e.profile.case) for e in log if e.profile is not None}
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return KernelSession.restored, (self.snapshot(),)

    def __copy__(self) -> KernelSession:
        return self.clone()

    def __deepcopy__(self, _memo: object) -> KernelSession:
        # All that sessions share never changes but by growing.
        return self.clone()

    def report(self) -> dict[str, Any]:
        """The session as plain data for JSON: what it measures by, where it is, best, log.

        Task, chip, cases and reference are named by their digests too: names can be anyone's.
        """
        best = self.best
        space, named = self._space, self._space.named
        yardsticks = zip(
            space.cases,
            named["cases"],
            space.reference_cycles,
            space.lower_bound_cycles,
            strict=True,
        )
        return {
            "task": space.task.name,
            "task_digest": named["task"],
            "chip": space.chip.name,
            "chip_digest": named["chip"],
            "reference": {"name": space.task.reference_name, "digest": named["reference"]},
            "version": package_version(),
            "timing_version": TIMING_VERSION,
            "verify": self.verify,
            "seed": self._gate.seed,
            "distributions": list(self._gate.distributions or DISTRIBUTIONS),
            "rows": self._gate.rows,
            "cases": [
                {
                    "case": case.name,
                    "case_digest": digest,
                    "reference_cycles": reference,
                    "lower_bound_cycles": bound,
                }
                for case, digest, reference, bound in yardsticks
            ],
            "budget": self.budget,
            "spent": self.spent,
            "left": self.left,
            "failed": sum(entry.failed for entry in self._log),
            "kernel": self.kernel.name,
            "start": _end(self._path[:1]).digest,
            "digest": self.digest,
            "edits": [edit_to_data(edit) for edit in self._edits],
            "best_speedup": self.best_speedup,
            "best": None if best is None else best.as_dict(),
            "log": [entry.as_dict() for entry in self._log],
        }


def _end(path: _Path) -> State:
    """The last state of a path."""
    state = path[-1]
    assert state is not None
    return state


def _product(entry: LogEntry) -> int:
    """The product of the cycles: the smaller, the better; only for kernels that were timed."""
    assert entry.outcome.product is not None
    return entry.outcome.product
