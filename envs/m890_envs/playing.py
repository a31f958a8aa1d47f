"""PolicyAgent: a policy that plays episodes on the session of a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, TypeVar

from m890_envs.choices import MacroEdits
from m890_envs.env import statements_for
from m890_envs.features import progress_features
from m890_envs.policy import Policy
from m890_envs.view import Viewer
from m890sim.agents import Agent, Dice
from m890sim.chip import ChipSpec
from m890sim.kernel import ir
from m890sim.messages import described
from m890sim.schedule import Edit
from m890sim.schedule.actions import STOP
from m890sim.schedule.macros import MacroActions
from m890sim.session import Facade, Place, context_of
from m890sim.timing import Timing
from m890sim.workloads import Case, Task

RECORDS = 8  # of the last kernels that were the best: the very last may be a dead end
RESTARTS = 0.5  # share of the episodes that begin with one of them
PATIENCE = 200  # episodes without a new kernel after which a search gives up
_VIEWS = 256  # that are kept

T = TypeVar("T")


class PolicyAgent(Agent):
    """Episodes of a policy, each step drawn by its scores and evaluated.

    An episode has the policy's horizon; it begins with the start kernel or, in RESTARTS of the
    cases, with one of the last RECORDS kernels that were the best. Observations and macros are
    those of the environment that it was trained in, its `budget` None. name: the policy's, with
    "-untrained" behind it for weights that were never trained. trained: the entry "data" of its
    provenance.
    Raises: TypeError for no policy.
    """

    name: ClassVar[str] = "policy"
    text: ClassVar[str] = "plays episodes of a saved policy over macro actions"
    anytime: ClassVar[bool] = True

    def __init__(self, policy: Policy) -> None:
        if not isinstance(policy, Policy):
            raise TypeError(f"policy must be a Policy, not {described(policy)}")
        self.policy = policy
        state = "trained" if policy.trained else "untrained"
        data = str(policy.provenance.get("data") or "data that its file does not name")
        # Other agents are one of a kind; policies are as many as there are files.
        vars(self).update(
            name=policy.name if policy.trained else f"{policy.name}-untrained",
            text=f"episodes of the {state} policy {policy.id} over macro actions",
            trained=data if policy.trained else "",
        )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        dice, place, idle = Dice(seed), session.position(), 0
        eyes = _Eyes(session, self.policy)
        records: list[Place] = []
        while idle < PATIENCE and session.left != 0:
            spent = session.spent
            again = bool(records) and dice.chance(RESTARTS)
            session.go_to(dice.pick(records) if again else place)
            self._episode(session, eyes, dice, records)
            idle = 0 if session.spent > spent else idle + 1

    def _episode(self, session: Facade, eyes: _Eyes, dice: Dice, records: list[Place]) -> None:
        policy, entry = self.policy, session.evaluate()
        best = 0.0 if entry.failed else math.log2(entry.speedup)
        for step in range(policy.horizon):
            view = eyes.viewer.view(eyes, entry)
            observation = eyes.viewer.arrays(view)
            observation["chip"] = eyes.viewer.chip
            left = (policy.horizon - step) / policy.horizon
            observation["progress"] = progress_features(best, entry, 1.0, left)
            mask = eyes.viewer.mask(view)
            action = policy.choose(policy.reader.vector(observation, mask), mask, dice)
            if action == STOP:
                return
            eyes.choices.take(eyes, action, None)
            known = session.best_speedup
            entry = session.evaluate()
            if not entry.failed:
                best = max(best, math.log2(entry.speedup))
            if session.best_speedup > known:
                records.append(session.position())
                del records[:-RECORDS]


class _Eyes:
    """A facade as the environment's observations and macros take a session."""

    def __init__(self, session: Facade, policy: Policy) -> None:
        self._session = session
        self.task: Task = session.task
        self.chip: ChipSpec = session.chip
        self.cases: tuple[Case, ...] = session.cases
        self._macros = MacroActions(context_of(self.task, self.chip))
        self._views: dict[tuple[str, Hashable], Any] = {}
        most = statements_for(self.task, policy.sites)
        self.choices = MacroEdits(self, most, policy.action_rows)
        self.viewer = Viewer(self, self.choices, "uniform", policy.sites, None)

    @property
    def kernel(self) -> ir.Kernel:
        """See Workplace."""
        return self._session.kernel

    def legal_edits(self) -> tuple[Edit, ...]:
        """See Workplace."""
        return self._session.legal_edits()

    def apply(self, edit: Edit) -> Any:
        """See Workplace."""
        return self._session.apply(edit)

    def undo(self) -> Any:
        """See Workplace."""
        return self._session.undo()

    def perform(self, action: int, most: int) -> tuple[Edit, ...]:
        """As `KernelSession.perform`; the edits are found on a copy, then made one by one."""
        edits = self._macros.perform(self._session.kernel, action, most)[1]
        for edit in edits:
            self._session.apply(edit)
        return edits

    def watch(self, case: Case | str) -> None:
        """Nothing: the session behind a facade keeps what it was told to keep."""

    def traced(self, case: Case | str) -> Timing:
        """See Workplace."""
        return self._session.traced(case)

    def report(self) -> dict[str, Any]:
        """See Workplace."""
        return self._session.report()

    def remember(self, key: Hashable, make: Callable[[ir.Kernel], T]) -> T:
        """As `KernelSession.remember`, of the last _VIEWS kernels."""
        place = self._session.digest, key
        if place not in self._views:
            if len(self._views) == _VIEWS:
                del self._views[next(iter(self._views))]
            self._views[place] = make(self._session.kernel)
        found: T = self._views[place]
        return found
