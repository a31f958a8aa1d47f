"""Proposals: kernels that a profile speaks for, the largest promise first, none of them timed."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.profile.findings import ProfileFinding, findings
from m890sim.profile.measure import Profile
from m890sim.profile.remedies import REMEDIES, Remedy, single_tunables
from m890sim.profile.remedy_parts import mark
from m890sim.profile.suggest import Candidate, candidates, context_for
from m890sim.schedule import Context, Edit, EditError, legal_edits, rewrite
from m890sim.schedule.core.tree import sites
from m890sim.workloads import Task

LEAST = 0.01  # of the cycles: a finding that would save less speaks for nothing


class EditedKernel:
    """A kernel and the edits that were made to it: an `Editable` without a session."""

    def __init__(self, kernel: ir.Kernel, context: Context) -> None:
        self.kernel, self.edits = kernel, list[Edit]()
        self._context = context

    def legal_edits(self, name: str | None = None) -> tuple[Edit, ...]:
        """Those of a name."""
        return tuple(legal_edits(self.kernel, self._context, name))

    def attempt(self, edit: Edit) -> bool:
        """Make an edit where it is legal; whether it was."""
        try:
            self.kernel = rewrite(self.kernel, edit, self._context)
        except EditError:
            return False
        self.edits.append(edit)
        return True


def proposals(profile: Profile, task: Task) -> Iterator[Candidate]:
    """Remedies of what the profile finds, then single edits and macro actions; no kernel twice.

    A remedy stands where the finding stands that bounds what it can gain. Kernels are made as they
    are asked for.
    """
    context = context_for(profile, task)
    seen = {profile.kernel}
    for found, remedy in _spoken_for(profile):
        edited = EditedKernel(profile.kernel, context)
        if remedy.perform(edited, _weights(profile)) and edited.kernel not in seen:
            seen.add(edited.kernel)
            yield Candidate(
                f"{remedy.name}: {remedy.text}",
                len(edited.edits) > 1,
                tuple(edited.edits),
                found.lines,
                edited.kernel,
                found.words(profile.cycles),
                found.saved / max(1, profile.cycles),
            )
    for one in candidates(profile, task):
        if one.kernel not in seen:
            yield one


def _spoken_for(profile: Profile) -> Iterator[tuple[ProfileFinding, Remedy]]:
    """Remedies with the finding that speaks loudest for each, the loudest first.

    Of what one finding speaks for, each family comes once before any comes again.
    """
    found = {one.reason: one for one in findings(profile.to_json())}
    queue: list[tuple[int, int, int, ProfileFinding, Remedy]] = []
    families: Counter[str] = Counter()
    for remedy in REMEDIES:
        spoken = [found[reason] for reason in remedy.reasons if reason in found]
        finding = max(spoken, key=lambda one: one.saved, default=None)
        if finding is None or finding.saved < LEAST * profile.cycles:
            continue
        for one in single_tunables(remedy, profile.kernel):
            again = families[one.family]
            families[one.family] += 1
            heapq.heappush(queue, (again, -finding.saved, len(queue), finding, one))
    while queue:
        *_, finding, remedy = heapq.heappop(queue)
        yield finding, remedy


def _weights(profile: Profile) -> dict[str, int]:
    """Cycles that the engines work for each statement, by `mark`."""
    working: Counter[int] = Counter()
    for line in profile.lines:
        working[line.line] += line.cycles
    found: Counter[str] = Counter()
    for _, stmt in sites(profile.kernel):
        if isinstance(stmt, ir.Instr) and stmt.loc.line in working:
            found[mark(stmt)] += working.pop(stmt.loc.line)
    return dict(found)
