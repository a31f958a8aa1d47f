"""Memory: what has been found out about kernels once, for all sessions that share it.

It saves time and never changes a result: a session's log, budget and best are its own. Threads may
share it; two that ask for the same thing at once both work it out and get equal answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from m890sim import schedule
from m890sim.chip import ChipSpec
from m890sim.errors import BindError, LanguageError, LimitError, TaskError
from m890sim.judge import check_fits
from m890sim.judge.arguments import cases_of
from m890sim.judge.evaluation import chosen_distributions, judge_case, task_cycles
from m890sim.judge.rows import QUICK_TOLERANCE, dealt
from m890sim.kernel import computed, digest
from m890sim.kernel.ir import Kernel
from m890sim.language import check_built, check_size
from m890sim.messages import described
from m890sim.profile import profile_kernel
from m890sim.schedule import Context, Edit, EditError, check_edit
from m890sim.schedule.growth import statements_of
from m890sim.schedule.macros import MOST_STATEMENTS, MacroActions
from m890sim.session.arguments import chip_of, integer_of, task_of
from m890sim.session.edits import context_of, rewritten
from m890sim.session.records import WRONG, CaseCycles, Outcome, Verdict
from m890sim.session.stored import Evaluations, key_of
from m890sim.timing import TIMING_VERSION, Attribution, Timing
from m890sim.workloads import Case, Task, known_bound, simulate_checked

STATES = 1024  # kernels whose legal edits and successors are kept, about 100 kB each
RESULTS = 50_000  # remembered (kernel, chip, case) results, about 2 kB each
SPACES = 64  # that are kept though no session holds them; each with its cases and their tables
WATCHED = 1024  # cases
STARTS = 64  # kernels that are loaded again and again
MOST_KEPT = 2**40  # no bound that anyone reaches
_LARGE = 200  # statements: a kernel takes up the room of one more for each so many
REFUSALS = 1024  # illegal edits of one kernel whose reason is kept

# A message begins with "file:line:column: CODE ", with "CODE ", or with neither.
_PLACE = re.compile(r"^\S*:\d+:\d+: ", re.M)
_CODE = re.compile(r"(E\d{3}) ")


class State:
    """A kernel within a Space, and what is known of it; filled in as it is asked for.

    Everything in it follows from the kernel and the space alone, so sessions share states.
    """

    __slots__ = (
        "_digest",
        "_digested",
        "_values",
        "checked",
        "edits",
        "extras",
        "kernel",
        "named",
        "offered",
        "outcome",
        "performed",
        "profiles",
        "refusals",
        "sound",
        "successors",
        "traced",
        "verdicts",
    )

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.checked = False  # by the language and against the task
        self.sound = False  # made by legal edits from a checked kernel: the language takes it
        self.offered = False  # the same, but that it may be too large
        self.edits: tuple[Edit, ...] | None = None
        self.named: dict[str, tuple[Edit, ...]] = {}  # those of one name, where only they are known
        self.successors: dict[Edit, State] = {}
        # Of macro actions, and statements allowed: the edits that were made, where they lead.
        self.performed: dict[tuple[int, int], tuple[tuple[Edit, ...], State]] = {}
        self.refusals: dict[Edit, str] = {}
        self.outcome: Outcome | None = None
        self.verdicts: dict[GateSettings, Verdict] = {}
        self.extras: dict[Hashable, Any] = {}
        self.traced: tuple[Case, Timing] | None = None  # of a watched case, until it is taken
        self.profiles: dict[Case, str] = {}  # as JSON, which nobody can change
        self._digest = self._values = ""
        # What a digest is taken of, as it was: to compare these takes no time.
        self._digested = (kernel.name, kernel.params, kernel.body)

    def forget(self) -> None:
        """Drop what takes room and can be found out again: a session that holds the state, as one
        of its path, holds little else.
        """
        # Links too: one state would keep all others alive.
        self.successors, self.performed = {}, {}
        self.edits, self.named, self.refusals, self.extras = None, {}, {}, {}
        self.profiles = {}
        self.traced = None

    @property
    def changed(self) -> bool:
        """Whether somebody exchanged parameters or statements of the kernel, frozen as it is."""
        kernel = self.kernel
        name, params, body = self._digested
        return not (kernel.name is name and kernel.params is params and kernel.body is body)

    @property
    def digest(self) -> str:
        """`kernel.digest` of the kernel."""
        if not self._digest:
            self._digest = digest(self.kernel)
        return self._digest

    @property
    def values_digest(self) -> str:
        """The same of what decides its values (`kernel.computed`)."""
        if not self._values:
            self._values = digest(computed(self.kernel))
        return self._values


@dataclass(frozen=True, slots=True)
class GateSettings:
    """How a kernel's values are checked: the seed and the distributions of the inputs, the rows."""

    seed: int
    distributions: tuple[str, ...] | None  # None: all
    # Of output that are looked at on each distribution, which are dealt out over the cases
    # (`judge.rows.dealt`); None: every row of every distribution on every case.
    rows: int | None = None


@dataclass(eq=False)
class Space:
    """The kernels of one task, choice of cases and chip, and the yardsticks of every case."""

    task: Task
    chip: ChipSpec
    cases: tuple[Case, ...]
    context: Context
    macros: MacroActions
    reference_cycles: tuple[int, ...]  # by case
    lower_bound_cycles: tuple[int | None, ...]  # by case; None: it states no demand
    named: dict[str, Any]  # the digests of what is measured, as a report has them
    # By digest; kernels of one digest may differ in their comments. A digest takes less time than
    # a kernel's hash, as the text of statements is remembered, and it is needed anyway.
    states: dict[str, tuple[State, ...]] = field(default_factory=dict, repr=False)
    room: int = 0  # that they take up


_K = TypeVar("_K")
_V = TypeVar("_V")
_SpaceKey = tuple[Task, ChipSpec, tuple[Case, ...]]


class Memory:
    """Timings, verdicts, legal edits and successors of kernels, shared by sessions.

    Timings are kept by (digest of the kernel, chip, case, timing version), verdicts on a case by
    the digest of what decides the kernel's values, the chip, the case and the gate. states: kernels
    that are kept with their edits, of all spaces together, results: timings and verdicts that are
    kept; when either is full it is emptied. spaces: combinations of task, cases and chip whose
    kernels are kept when no session works on them any more; the one that was asked for the longest
    ago goes first. evaluations: timings and verdicts that other processes share; asked first.
    Raises: TypeError, ValueError.
    """

    def __init__(
        self,
        states: int = STATES,
        results: int = RESULTS,
        spaces: int = SPACES,
        *,
        evaluations: Evaluations | None = None,
    ) -> None:
        if evaluations is not None and not isinstance(evaluations, Evaluations):
            raise TypeError(
                f"evaluations must be Evaluations or None, not {described(evaluations)}"
            )
        integer_of("states", states, 1, MOST_KEPT)
        integer_of("results", results, 1, MOST_KEPT)
        integer_of("spaces", spaces, 1, MOST_KEPT)
        self.timed = 0  # (kernel, case) simulations that were run
        self._evaluations = evaluations
        self.judged = 0  # (kernel, case) gates that were run
        self._most_states = states
        self._most_results = results
        self._most_spaces = spaces
        # All that anyone holds: sessions of one space share it, however long ago it was made.
        self._spaces: WeakValueDictionary[_SpaceKey, Space] = WeakValueDictionary()
        self._recent: dict[_SpaceKey, Space] = {}  # the last ones asked for, the latest at the end
        self._timings: dict[Hashable, CaseCycles] = {}
        self._verdicts: dict[Hashable, Verdict] = {}
        self._watched: dict[Case, None] = {}  # the earliest first
        self._room = 0  # that the states take up
        self._starts: dict[str, Kernel] = {}  # by digest, the earliest first

    def watch(self, case: Case) -> None:
        """Trace this case from now on whenever it is timed, for the next `traced` of the kernel.

        Raises: TypeError for what is no case.
        """
        if not isinstance(case, Case):
            raise TypeError(f"a case must be a Case, not {described(case)}")
        _keep(self._watched, case, None, WATCHED)

    def traced(self, space: Space, state: State, case: Case) -> Timing:
        """The traced run of a kernel, once for nothing where the case is watched.

        Raises: BindError, LimitError; TypeError.
        """
        _check_parts(space, state)
        if not isinstance(case, Case):
            raise TypeError(f"a case must be a Case, not {described(case)}")
        kept, state.traced = state.traced, None
        if kept is not None and kept[0] == case:
            return kept[1]
        return simulate_checked(state.kernel, case, space.chip, trace=True)

    def profile(self, space: Space, state: State, case: Case) -> str:
        """A kernel's profile on a case as JSON, without what-ifs, which are timings of their own.

        Raises: BindError, LimitError, LanguageError; TypeError.
        """
        _check_parts(space, state)
        if not isinstance(case, Case):
            raise TypeError(f"a case must be a Case, not {described(case)}")
        found = state.profiles.get(case)
        if found is None:
            data = profile_kernel(state.kernel, case, space.chip).to_json(what_if=False)
            found = state.profiles[case] = json.dumps(data)
        return found

    def space(self, task: Task, chip: ChipSpec, cases: tuple[Case, ...]) -> Space:
        """The space of a task, chip and cases; times the reference on first use.

        Raises: TypeError; TaskError for a case of another task.
        """
        task, chip = task_of(task), chip_of(chip)
        if type(cases) is not tuple or not all(isinstance(case, Case) for case in cases):
            raise TypeError(f"cases must be a tuple of cases, not {described(cases)}")
        cases = cases_of(task, cases)
        key = (task, chip, cases)
        found = self._spaces.get(key)
        if found is None:
            context = context_of(task, chip)
            found = Space(
                task,
                chip,
                cases,
                context,
                MacroActions(context),
                tuple(task_cycles(task, case, chip) for case in cases),
                tuple(known_bound(case, chip, task.allowed_dtypes) for case in cases),
                {
                    "task": task.digest,
                    "chip": chip.digest,
                    "cases": tuple(case.digest for case in cases),
                    "reference": digest(task.reference_on(chip)),
                },
            )
            found = self._spaces.setdefault(key, found)
        for dropped in _keep(self._recent, key, found, self._most_spaces):
            # What a session still holds of it is no longer counted.
            self._room, dropped.room = self._room - dropped.room, 0
        return found

    def shared(self, kernel: Kernel) -> Kernel:
        """One object for equal kernels that sessions of other spaces loaded before.

        Much of what analyses find out is known by the identity of a kernel's nodes, so that a
        reference on the next chip is not looked through again. Raises: TypeError.
        """
        if type(kernel) is not Kernel:
            raise TypeError(f"kernel must be a Kernel, not {described(kernel)}")
        key = digest(kernel)
        known = self._starts.get(key, kernel)
        found = known if known == kernel else kernel
        _keep(self._starts, key, found, STARTS)
        return found

    def state(self, space: Space, kernel: Kernel) -> State:
        """The state of a kernel, one for all kernels that are equal, comments included.

        The kernel is kept as it is: nobody else may hold it (`copies.Copies`). Raises: TypeError.
        """
        _check_space(space)
        if type(kernel) is not Kernel:
            raise TypeError(f"kernel must be a Kernel, not {described(kernel)}")
        made = State(kernel)
        alike = space.states.get(made.digest, ())
        for state in alike:
            if state.kernel == kernel:
                return state
        room = 1 + statements_of(made.kernel) // _LARGE
        if self._room + room > self._most_states or len(alike) >= self._most_states:
            for each in list(self._spaces.values()):
                for states in tuple(each.states.values()):
                    for state in states:
                        state.forget()
                each.states, each.room = {}, 0
            alike, self._room, room = (), 0, 1
        self._room, space.room = self._room + room, space.room + room
        space.states[made.digest] = (*alike, made)
        return made

    def check(self, space: Space, state: State) -> None:
        """Raises: LanguageError, LimitError, or TaskError where it does not fit the task."""
        _check_parts(space, state)
        if not state.checked:
            check_built(state.kernel)
            check_fits(state.kernel, space.task)
            state.checked = state.sound = True

    def edits(self, space: Space, state: State, name: str | None = None) -> tuple[Edit, ...]:
        """The legal edits of a kernel, or those of one name. Raises: EditError for an unknown one.

        The same object each time. Raises: TypeError.
        """
        if name is None:
            if type(state) is not State or state.edits is None:
                _check_parts(space, state)
                state.edits = tuple(schedule.legal_edits(state.kernel, space.context))
            return state.edits
        _check_parts(space, state)
        found = state.named.get(name)
        if found is None:
            if state.edits is None or name not in schedule.EDITS:
                found = tuple(schedule.legal_edits(state.kernel, space.context, name))
            else:
                found = tuple(edit for edit in state.edits if edit.name == name)
            state.named[name] = found
        return found

    def successor(self, space: Space, state: State, edit: Edit) -> State:
        """The state after an edit. Raises: EditError; TypeError for a name, site or argument of
        another type than an edit has.
        """
        try:
            found = state.successors.get(edit)
        except (TypeError, AttributeError):
            found = None  # no state, or an edit without a hash: the checks below say so
        if found is not None:
            return found
        _check_parts(space, state)
        check_edit(edit)
        reason = state.refusals.get(edit)
        if reason is not None:
            raise EditError(reason)
        try:
            kernel = rewritten(state.kernel, edit, space.context)
        except EditError as error:
            if len(state.refusals) < REFUSALS:
                state.refusals[edit] = str(error)
            raise
        found = self.state(space, kernel)
        legal = state.named.get(edit.name, ()) if state.edits is None else state.edits
        if state.sound and edit in legal:
            found.sound = True
        # It applied, and what `legal_edits` asks beside is that it is one of the candidates.
        elif (state.sound or state.offered) and schedule.offers(state.kernel, edit, space.context):
            found.offered = True
        state.successors[edit] = found
        return found

    def performed(
        self, space: Space, state: State, action: int, most: int = MOST_STATEMENTS
    ) -> tuple[tuple[Edit, ...], State]:
        """The edits of a macro action and the state after them; most: statements.

        Raises: EditError where it is legal at no place; TypeError, ValueError for no macro action.
        """
        _check_parts(space, state)
        number = space.macros.number_of(action)
        integer_of("most", most, 1)
        found = state.performed.get((number, most))
        if found is None:
            kernel, edits = space.macros.perform(state.kernel, number, most)
            after = self.state(space, kernel)
            # Every edit was one of the candidates where it was made.
            after.offered = after.offered or state.sound or state.offered
            found = state.performed[number, most] = edits, after
        return found

    def outcome(self, space: Space, state: State) -> Outcome:
        """The cycles of a kernel on every case of the space.

        Raises: TypeError; ValueError for a kernel that was changed after its digest was taken.
        """
        if type(state) is not State or state.outcome is None:
            _check_parts(space, state)
            if state.changed:
                raise ValueError(
                    f"the kernel {state.kernel.name!r:.60} was changed after it was loaded; "
                    "kernels are frozen, load the changed one"
                )
            refusal = None if state.sound else self._refusal(space, state, state.offered)
            state.outcome = Outcome.of(
                self._timing(space, state, number) if refusal is None else refused
                for number, refused in enumerate(_refused(space, refusal))
            )
        return state.outcome

    def verdict(self, space: Space, state: State, gate: GateSettings) -> Verdict:
        """What the gate says of a kernel: the language's rules, the task's, then the values.

        Small cases come first, and the first one that fails ends it.
        Raises: judge.BelowLowerBoundError; TypeError.
        """
        _check_parts(space, state)
        if not isinstance(gate, GateSettings):
            raise TypeError(f"gate must be a GateSettings, not {described(gate)}")
        found = state.verdicts.get(gate)
        if found is None:
            found = self._judge(space, state, gate)
            state.verdicts[gate] = found
        return found

    def _timing(self, space: Space, state: State, number: int) -> CaseCycles:
        yardsticks = (space.reference_cycles[number], space.lower_bound_cycles[number])
        key = (state.digest, space.chip, space.cases[number], TIMING_VERSION, yardsticks)
        found = self._timings.get(key)
        if found is None:
            found = self._shared_timing(space, state, number, yardsticks)
            if len(self._timings) >= self._most_results:
                self._timings = {}
            self._timings[key] = found
        return found

    def _shared_timing(
        self, space: Space, state: State, number: int, yardsticks: tuple[int, int | None]
    ) -> CaseCycles:
        """A timing that another process may have made."""
        case, shared, key = space.cases[number], self._evaluations, ""
        watched = case in self._watched  # then the run itself is wanted
        if shared is not None:
            named = space.named
            key = key_of(
                "timing", named["chip"], named["task"], named["cases"][number], state.digest
            )
            found = None if watched else shared.timing(key, space.chip, case.name, yardsticks)
            if found is not None:
                return found
        found, timing = _time(space, state.kernel, case, yardsticks, watched)
        if timing is not None:
            state.traced = (case, timing)
        self.timed += 1
        if shared is not None:
            shared.keep_timing(key, found)
        return found

    def _shared_verdict(
        self,
        space: Space,
        state: State,
        case: Case,
        gate: GateSettings,
        here: tuple[str, ...],
        timing: CaseCycles,
        own: tuple[str, bool],
    ) -> Verdict:
        """A verdict that another process may have made; own: digest, and whether of values."""
        shared, key, named = self._evaluations, "", space.named
        if shared is not None:
            number = space.cases.index(case)
            asked = (gate.seed, gate.distributions, gate.rows, here)
            key = key_of(
                *("verdict", named["chip"], named["task"], named["cases"][number], *own), *asked
            )
            found = shared.verdict(key)
            if found is not None:
                return found
        verdict = _judge_case(space, state.kernel, case, gate, here, timing)
        self.judged += 1
        if shared is not None:
            shared.keep_verdict(key, verdict)
        return verdict

    def _judge(self, space: Space, state: State, gate: GateSettings) -> Verdict:
        refusal = self._refusal(space, state)
        if refusal is not None:
            return refusal
        task = space.task
        names = chosen_distributions(gate.distributions)
        for number, case in enumerate(sorted(space.cases, key=lambda case: case.work)):
            here = names if gate.rows is None else dealt(names, number)
            judged_by = (task.tolerance, task.gates, task.limits)
            version = (TIMING_VERSION, task.name, task.outputs, judged_by, here)
            # A kernel that is timed can be shown wrong by its values alone.
            timing = self._timing(space, state, space.cases.index(case))
            timed = timing.cycles is not None and timing.cycles >= (timing.lower_bound_cycles or 0)
            own = state.values_digest if timed else state.digest
            key = (own, timed, space.chip, case, version, gate)
            verdict = self._verdicts.get(key)
            if verdict is None:
                verdict = self._shared_verdict(space, state, case, gate, here, timing, (own, timed))
                if len(self._verdicts) >= self._most_results:
                    self._verdicts = {}
                self._verdicts[key] = verdict
            if not verdict.correct:
                return verdict
        return Verdict(True)

    def _refusal(self, space: Space, state: State, offered: bool = False) -> Verdict | None:
        """Why the language or the task refuses a kernel; None where they take it.

        offered: they take it unless it is too large.
        """
        try:
            if offered:
                check_size(state.kernel)
                state.sound = True
            else:
                self.check(space, state)
        except LanguageError as error:
            return Verdict(False, error.diagnostics[0].code, error.diagnostics[0].message)
        except LimitError as error:
            return Verdict(False, error.code, error.detail)
        except TaskError as error:
            return Verdict(False, WRONG, _PLACE.sub("", str(error)))
        return None


def _keep(table: dict[_K, _V], key: _K, value: _V, most: int) -> list[_V]:
    """Make a value the latest of a table; those that are dropped, as there are more than `most`."""
    table.pop(key, None)
    table[key] = value
    # A list of the keys is made at once: other threads may be at the table too.
    earliest = list(table)[: max(0, len(table) - most)]
    return [table.pop(each) for each in earliest if each in table]


def _check_space(space: object) -> None:
    if not isinstance(space, Space):
        raise TypeError(f"space must be what Memory.space gave, not {described(space)}")


def _check_parts(space: object, state: object) -> None:
    _check_space(space)
    if not isinstance(state, State):
        raise TypeError(f"state must be what Memory.state gave, not {described(state)}")


def _refused(space: Space, refusal: Verdict | None) -> tuple[CaseCycles, ...]:
    """The cases of a kernel that is not even timed, as nothing vouches for what it says."""
    code, message = ("", "") if refusal is None else (refusal.code, refusal.message)
    yardsticks = zip(space.cases, space.reference_cycles, space.lower_bound_cycles, strict=True)
    return tuple(
        CaseCycles(case.name, None, None, reference, bound, code, message)
        for case, reference, bound in yardsticks
    )


def _time(
    space: Space, kernel: Kernel, case: Case, yardsticks: tuple[int, int | None], trace: bool
) -> tuple[CaseCycles, Timing | None]:
    """Simulate one case; an error is a result too. The timing itself where it has a trace."""
    try:
        timing = simulate_checked(kernel, case, space.chip, trace=trace)
    except (BindError, LimitError) as error:
        return CaseCycles(case.name, None, None, *yardsticks, error.code, error.detail), None
    spread = timing.attribution
    # One sum over the cores: a record is kept for every kernel that was ever timed.
    sums = spread.cycles.sum(axis=0, keepdims=True)
    # On bytes, which nobody can make writeable: sessions share it.
    sums = np.frombuffer(sums.tobytes(), dtype=sums.dtype).reshape(sums.shape)
    summed = Attribution(sums, spread.engines, spread.causes)
    found = CaseCycles(
        case.name, timing.cycles, timing.instructions, *yardsticks, attribution=summed
    )
    return found, timing if trace else None


def _judge_case(
    space: Space,
    kernel: Kernel,
    case: Case,
    gate: GateSettings,
    distributions: tuple[str, ...],
    timing: CaseCycles,
) -> Verdict:
    quick = gate.rows is not None
    found = judge_case(
        kernel,
        space.task,
        case,
        space.chip,
        gate.seed,
        distributions,
        gate.rows,
        tolerance=space.task.tolerance * QUICK_TOLERANCE if quick else None,
        timed=(timing.cycles, timing.instructions),
    )
    if found.correct:
        return Verdict(True)
    # Kernels of one digest may have their statements on different lines.
    message = _PLACE.sub("", found.message)
    code = _CODE.match(message)
    if code:
        message = message[code.end() :]
    return Verdict(False, code[1] if code else WRONG, f"{case.name}: {message}", case.name)
