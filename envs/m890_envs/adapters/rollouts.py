"""KernelRollout: an episode of KernelSourceEnv as trainers of language models take it.

No files: the sessions of a process share one memory, which makes them faster and changes no result.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from typing import Any

from m890_envs.source import KernelSourceEnv
from m890sim.agents.plan import Plan
from m890sim.session.arguments import choice_of

REWARDS_OF_ROLLOUTS = ("final", "dense")


class KernelRollout:
    """One episode after the other: `begin`, then `act` or `call` until `over`.

    reward: "final", log2 of the final score over the start's, all of it with the last step;
    "dense", the rises of log2 of the best speedup on public cases on the way, and with the last
    step what makes their sum the same. hidden: hidden cases of the final judgement, as many as runs
    have where None. settings: arguments of KernelSourceEnv; of these `penalty` is 0 where it is not
    given. Calls of several threads are made one after the other.
    Raises: TypeError, ValueError, M890Error for what is refused.
    """

    def __init__(
        self, *, reward: str = "final", hidden: int | None = None, **settings: Any
    ) -> None:
        self.reward = choice_of("reward", reward, REWARDS_OF_ROLLOUTS)
        self._hidden = hidden
        self._env = KernelSourceEnv(**{"penalty": 0.0, **settings})
        self._lock = threading.RLock()
        self._seed = 0
        self._start = self._best = 0.0  # log2 of the speedup of the start, and of the best
        self._metrics: dict[str, Any] | None = None

    @property
    def plan(self) -> Plan:
        """What the episode's session is about."""
        return self._env.session.plan

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return bool(self._env.session.ended)

    @property
    def metrics(self) -> dict[str, Any]:
        """What the episode came to, named as in `hosting.judged`; judged first, where it was not.

        For whoever trains, never for the agent: it ends an episode that goes on.
        """
        with self._lock:
            if self._metrics is None:
                self._env.session.close("whoever played it went away")
                self._metrics = self._judged()
            return dict(self._metrics)

    def begin(self, seed: int, **options: Any) -> str:
        """Begin the episode of a seed; the first message to the agent.

        options: task, chip, cases, docs, start of this episode, drawn or as arguments say where
        left out or None. Raises: TypeError, ValueError, M890Error for what is refused.
        """
        with self._lock:
            found, _ = self._env.reset(seed=seed, options=options)
            self._seed, self._metrics = seed, None
            self._start = self._best = math.log2(self._env.session.best_speedup)
            return str(found["report"])

    def call(self, tool: str, arguments: dict[str, Any]) -> tuple[str, float]:
        """Call a tool: the answer's text and the reward."""
        return self.act(json.dumps({"tool": tool, "arguments": arguments}))

    def act(self, action: str) -> tuple[str, float]:
        """Do what a text says, one of the forms of `writing.GUIDE`: the report and the reward.

        After the end a report that says so, and 0.
        """
        with self._lock:
            if self.over:
                return f"the session is over: {self._env.session.ended}", 0.0
            found, earned, *_ = self._env.step(action)
            before, self._best = self._best, math.log2(self._env.session.best_speedup)
            dense = self.reward == "dense"
            if not dense:  # what remains is the penalty
                earned -= self._best - before
            if self.over:
                earned += self.metrics["log_score"] - (self._best if dense else self._start)
            return str(found["report"]), earned

    def _judged(self) -> dict[str, Any]:
        session = self._env.session
        chosen = session.chosen
        # Hidden cases follow from all that was done: nobody can have tuned a kernel to them.
        said = [self._seed, self._env.actions, None if chosen is None else chosen.digest]
        seed = int(hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8], 16)
        found = self._env.judge(self._hidden, seed)
        solved = found is not None and not found.refuted
        hidden = None if found is None or found.hidden is None else found.hidden
        speedup = found.speedup if found is not None and solved else 1.0
        score = hidden.speedup if hidden is not None and solved else speedup
        asked = [entry for entry in session.log[1:] if entry.profile is None]
        return {
            "score": score,
            "log_score": math.log2(score),
            "speedup": speedup,
            "hidden_speedup": None if hidden is None else score,
            "hidden_gap": None if hidden is None else score / speedup,
            "solved": solved,
            "gap_closed": found.evaluation.gap_closed if found is not None and solved else 0.0,
            "right": sum(entry.correct is True for entry in asked) / len(asked) if asked else None,
            "evaluations": len(session.log),
            "calls": session.calls,
            "ended": session.ended,
        }
