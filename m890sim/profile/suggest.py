"""`suggest`: what each legal edit and macro action gains on a case, measured, the largest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from m890sim.errors import M890Error
from m890sim.kernel import ir
from m890sim.profile.measure import Profile
from m890sim.schedule import Context, Edit, EditError, legal_edits, rewrite
from m890sim.schedule.core.tree import sites
from m890sim.schedule.macros import MacroActions
from m890sim.workloads import Task
from m890sim.workloads.run import simulate_checked

Told = Callable[[int, int, str], None]  # (kernels timed, in all, what comes next)
_SAID = 0.01  # of the path or of an engine's time: less is no reason


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One edit, or one macro action: an edit at all its places.

    what: the edit with site and argument, or the macro. edits: those that lead to the kernel, in
    their order. lines: of the source, where they act. cycles: None where the kernel no longer fits.
    saved: cycles less than now. reason: what the profile says of these lines.
    """

    what: str
    macro: bool
    edits: tuple[Edit, ...]
    lines: tuple[int, ...]
    cycles: int | None
    saved: int
    reason: str


def suggestions(profile: Profile, task: Task, told: Told | None = None) -> list[Suggestion]:
    """Every legal edit and macro action, each timed on the profile's case, the largest gain first.

    Of edits that lead to the same kernel the first counts, single edits before macros. Values are
    not looked at: edits keep them, up to rounding. told: called before each run.
    """
    found = _found(profile, task)
    made = []
    for number, one in enumerate(found):
        if told is not None:
            told(number, len(found), one.what)
        try:
            cycles = simulate_checked(one.kernel, profile.case, profile.chip).cycles
        except M890Error:
            cycles = None
        saved = 0 if cycles is None else profile.cycles - cycles
        made.append(
            Suggestion(one.what, one.macro, one.edits, one.lines, cycles, saved, one.reason)
        )
    return sorted(made, key=lambda one: (one.cycles is None, -one.saved, one.macro))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel that an edit, or one edit at all its places, makes: not timed yet.

    what, macro, edits, lines, reason: as of a Suggestion. weight: share of the critical path that
    lies in its lines, 0 to 1.
    """

    what: str
    macro: bool
    edits: tuple[Edit, ...]
    lines: tuple[int, ...]
    kernel: ir.Kernel
    reason: str
    weight: float


def candidates(profile: Profile, task: Task) -> list[Candidate]:
    """Every kernel that a legal edit or macro action makes, none of them timed.

    Those whose lines hold more of the critical path come first, an edit at all its places before
    the same at one.
    """
    return sorted(_found(profile, task), key=lambda one: (-one.weight, not one.macro))


def _found(profile: Profile, task: Task) -> list[Candidate]:
    """The candidates in the order of the edits, single ones before macros, each kernel once."""
    kernel = profile.kernel
    lines = {site: stmt.loc.line for site, stmt in sites(kernel)}
    reasons = _Reasons(profile)
    seen = {kernel}
    found = []
    for what, macro, edits, changed in _candidates(kernel, task, profile):
        if changed in seen:
            continue
        seen.add(changed)
        at = tuple(sorted({lines[edit.site] for edit in edits if edit.site in lines}))
        fences = edits[0].name == "remove_fence"
        reason = reasons.of_fences() if fences else reasons.of(at)
        weight = reasons.fences if fences else reasons.weight(at)
        found.append(Candidate(what, macro, edits, at, changed, reason, weight))
    return found


def context_for(profile: Profile, task: Task) -> Context:
    """What edits may use on the profile's chip for the task."""
    return Context(
        dtypes=task.allowed_dtypes,
        queues=profile.chip.dma_queues,
        banks=profile.chip.sram_banks,
        positive=task.positive,
    )


def _candidates(
    kernel: ir.Kernel, task: Task, profile: Profile
) -> Iterator[tuple[str, bool, tuple[Edit, ...], ir.Kernel]]:
    context = context_for(profile, task)
    legal = legal_edits(kernel, context)
    for edit in legal:
        yield str(edit), False, (edit,), rewrite(kernel, edit, context)
    actions = MacroActions(context)
    for number in actions.by_id(kernel, legal):
        try:
            changed, edits = actions.perform(kernel, number)
        except EditError:
            continue
        if len(edits) > 1:
            yield str(actions.macro_of(number)), True, edits, changed


class _Reasons:
    """What a profile says of lines, in words."""

    def __init__(self, profile: Profile) -> None:
        self._whole = max(1, profile.cycles)
        self._time = self._whole * profile.rows.chip.cores
        self._engines = len({line.engine for line in profile.lines})
        self._path: dict[int, Counter[str]] = {}
        for part in profile.critical_path:
            self._path.setdefault(part.line, Counter())[part.kind] += part.cycles
        self._stalls: dict[int, Counter[str]] = {}
        self._waits: dict[int, dict[int, int]] = {}
        for line in profile.lines:
            self._stalls.setdefault(line.line, Counter()).update(line.stalls)
            self._waits.setdefault(line.line, line.waits_for)

    @property
    def fences(self) -> float:
        """Share of all engines' time that is spent waiting for fences, 0 to 1."""
        waiting = sum(stalls["fence"] for stalls in self._stalls.values())
        return waiting / max(1, self._time * self._engines)

    def weight(self, lines: tuple[int, ...]) -> float:
        """Share of the critical path that lies in these lines, 0 to 1."""
        return sum(self._path[line].total() for line in lines if line in self._path) / self._whole

    def of_fences(self) -> str:
        """How long engines wait for fences."""
        return f"engines wait {100 * self.fences:.0f}% for fences"

    def of(self, lines: tuple[int, ...]) -> str:
        """The largest part of the path, and the longest wait, among these lines."""
        path = Counter[str]()
        for line in lines:
            path.update(self._path.get(line, {}))
        words = []
        if path.total() >= _SAID * self._whole:
            kind, _ = path.most_common(1)[0]
            words.append(f"{100 * path.total() / self._whole:.0f}% of the path, most of it {kind}")
        longest = max(lines, key=lambda line: self._stalls.get(line, Counter()).total(), default=0)
        stalls = self._stalls.get(longest, Counter[str]())
        if stalls.total() >= _SAID * self._time:
            cause, _ = stalls.most_common(1)[0]
            whom = next(iter(self._waits.get(longest, {})), None)
            where = f" (line {whom})" if whom is not None and cause != "fence" else ""
            waits = f"waits {100 * stalls.total() / self._time:.0f}% for {cause}{where}"
            words.append(f"line {longest} {waits}")
        return "; ".join(words)
