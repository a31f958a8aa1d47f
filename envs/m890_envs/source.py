"""KernelSourceEnv: the session of an agent that writes source, one call of a tool a step."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from m890_envs.chance import chance_of, with_chance
from m890_envs.env import REWARDS, Info, Observation, options_of, reason_of, shared_memory, start_of
from m890_envs.features import rounded
from m890_envs.fields import METRICS, MOST_CASES
from m890_envs.texts import SourceText
from m890_envs.writing import CHARACTERS, GUIDE, taken
from m890sim.agents.outcome import FINAL_ROWS
from m890sim.agents.plan import MOST_EVALUATIONS, Plan, hidden_of
from m890sim.agents.terms import DOCS, MOST_CALLS, MOST_SOURCE, Terms
from m890sim.chip import ChipSpec
from m890sim.garbage import uncollected
from m890sim.judge import Judgement, judge_kernel
from m890sim.judge.arguments import sequence_of
from m890sim.kernel.ir import Kernel
from m890sim.protocol import Answer, SourceSession, instructions
from m890sim.protocol.description import task_data, task_text
from m890sim.session import Memory
from m890sim.session.arguments import choice_of, integer_of, kernel_of, penalty_of, seed_of
from m890sim.session.suite import CHIP_FAMILIES, OPTIONS, Episode, Suite
from m890sim.workloads import Case, Task

AGENT = "M890/KernelSource-v0"  # the agent's name in the plan of an episode
LEAST_REPORT, REPORT, MOST_REPORT = 1000, 32_768, 1 << 20  # characters


class KernelSourceEnv(gym.Env[Observation, Any]):
    """An action is a text: a kernel, changes of one, or a call of a tool; the report answers it.

    Description: `m890sim.protocol` as an environment. task, cases (the task's public ones where
    None) and chips say what a kernel is measured on. Where chips names families, each episode has a
    chip of its own, drawn from the split.

    Actions: Text. A whole kernel file; search/replace blocks in the text that was handed in last;
    a tool's name or a call as JSON (`writing.GUIDE`, docs/environments.md). What is none of them,
    or is refused, changes nothing but the steps left, costs `penalty`, and the report says why.
    Nothing that an action is raises an error.

    Observations: Dict. source: Text, what was handed in last. report: Text, the answer to the
    action; after a reset the rules and the task. metrics: float32, a number for each row of
    `fields.METRICS`. Texts that are too long are cut.

    Rewards: "best", the rise of log2(best speedup of a right kernel); "current", the change of
    log2(speedup) of the kernel that was tested last; "final", all of the rise of the best with the
    last step.

    End: `submit` terminates. `horizon` calls, `budget` evaluations (the start's is the first), or
    `patience` evaluations without a gain of 1% truncate. What is submitted, else the best, can then
    be judged on hidden cases by `judge`; that is for whoever runs the environment.

    Arguments: docs: "none", "language" or "full". start: the first kernel, as of KernelEditEnv.
    source, report: characters of an action and of a report. memory: a Memory to share; the
    process's own where None. render_mode: "ansi". `reset(options={...})` takes task, chip, cases,
    docs and start for one episode. Episodes are drawn as those of SuiteEnv: `reset(seed=s)` begins
    episode 0 of seed s, each further reset the next.

    Raises: TypeError, ValueError, M890Error for what is refused.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}

    def __init__(
        self,
        task: Task | str = "extend",
        cases: Iterable[Case | str] | None = None,
        chips: Iterable[ChipSpec | str | Path] = CHIP_FAMILIES,
        *,
        split: str = "train",
        docs: str = "none",
        start: Kernel | str | Path = "reference",
        horizon: int = 1158,
        budget: int = 432,
        patience: int = 0,
        source: int = 20_000,
        report: int = REPORT,
        reward: str = "best",
        penalty: float = 0.01,
        memory: Memory | None = None,
        render_mode: str | None = None,
    ) -> None:
        if cases is not None and not isinstance(cases, (str, Case)):
            cases = sequence_of("cases", cases, "cases or their names")
        if not isinstance(chips, (str, Path, ChipSpec)):
            chips = sequence_of("chips", chips, "chips, families or their names")
        integer_of("horizon", horizon, 1, MOST_CALLS)
        integer_of("budget", budget, 2, MOST_EVALUATIONS)
        integer_of("source", source, 100, MOST_SOURCE)
        integer_of("report", report, LEAST_REPORT, MOST_REPORT)
        choice_of("reward", reward, REWARDS)
        if render_mode is not None:
            choice_of("render_mode", render_mode, tuple(self.metadata["render_modes"]))
        self.render_mode, self.reward = render_mode, reward
        self.penalty = penalty_of(penalty)
        self.terms = Terms(docs=docs, calls=horizon, source=source, patience=patience)
        self.suite = Suite(split, (task,), chips, MOST_CASES)
        self._measured = {"task": task, "cases": cases}
        self._start, self._budget, self._report = start, budget, report
        self._arguments = {
            **self._measured,
            "chips": chips,
            "split": split,
            "docs": docs,
            "start": start,
            "horizon": horizon,
            "budget": budget,
            "patience": patience,
            "source": source,
            "report": report,
            "reward": reward,
            "penalty": penalty,
            "render_mode": render_mode,
        }
        self._memory = shared_memory() if memory is None else memory
        self._next = self._number = 0  # episodes of the seed
        self._running = False
        self._session: SourceSession | None = None
        self._episode: Episode
        self._begun: tuple[Any, ...]  # what the episode began with
        self._actions: list[Any] = []  # since the reset
        self._answer: Answer
        self._tested = 0  # the evaluation of the kernel that was tested last
        self._before = self._rewarded = 0.0
        self.action_space = SourceText(source)
        low, high = ([getattr(column, side) for column in METRICS] for side in ("low", "high"))
        self.observation_space = spaces.Dict(
            {
                "metrics": spaces.Box(
                    np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32
                ),
                "report": SourceText(report),
                "source": SourceText(source),
            }
        )

    # What is going on.

    @property
    def session(self) -> SourceSession:
        """The session of the episode. Raises: ResetNeeded before the first reset."""
        if self._session is None:
            raise ResetNeeded("call reset() first")
        return self._session

    @property
    def episode(self) -> Episode:
        """What the episode is measured on. Raises: ResetNeeded before the first reset."""
        self._require_reset()
        return self._episode

    @property
    def actions(self) -> tuple[Any, ...]:
        """What was done since the reset."""
        return tuple(self._actions)

    def judge(self, hidden: int | None = None, seed: int = 0) -> Judgement | None:
        """The final judgement of an ended episode: every gate, and hidden cases.

        Of the kernel that was submitted, else of the best; None where none was right. hidden:
        cases, as many as runs have where None. seed: of inputs and hidden cases; who trains on the
        score should draw a fresh one. Takes seconds, and is for whoever runs the environment.
        Raises: ResetNeeded where no episode has ended.
        """
        session = self.session
        if not session.ended:
            raise ResetNeeded("the episode goes on; its kernel is judged when it has ended")
        chosen = session.chosen
        if chosen is None:
            return None
        plan = session.plan
        return judge_kernel(
            session.kernel(chosen.index),
            plan.task,
            plan.chip,
            hidden=hidden_of(plan.task) if hidden is None else hidden,
            seed=seed_of(seed),
            cases=plan.cases,
            rows=FINAL_ROWS,
            thorough=False,
        )

    # Gymnasium's interface.

    @uncollected
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin an episode. options: "task", "chip", "cases", "docs", "start", for it alone.

        Raises: TypeError, ValueError, M890Error for options that are refused.
        """
        given = options_of(options, (*OPTIONS, "docs", "start"))
        if seed is not None:
            integer_of("seed", seed, 0)
        super().reset(seed=seed)
        number = 0 if seed is not None else self._next
        docs, start = given.pop("docs", None), given.pop("start", None)
        docs = self.terms.docs if docs is None else choice_of("docs", docs, DOCS)
        episode = self._drawn(number, given)
        self._begin(episode, docs, self._start if start is None else start)
        self._number, self._next = number, number + 1
        return self._observation(), self._info(0, reason_of(self.session.log[0]))

    @uncollected
    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Do what the text says. Raises: ResetNeeded where no episode is going on."""
        session = self.session
        if not self._running:
            raise ResetNeeded("the episode has ended; call reset() before the next step")
        answer = self._do(action)
        illegal = int(not answer.ok)
        terminated = session.submitted is not None
        truncated = bool(session.ended) and not terminated
        before, self._rewarded = self._rewarded, self._worth()
        reward = self._rewarded - before - illegal * self.penalty
        why = answer.text if illegal else str(answer.data.get("message", ""))
        return self._observation(), reward, terminated, truncated, self._info(illegal, why)

    def render(self) -> Any:
        """The last report and the text that was handed in last, with line numbers ("ansi")."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode: gym.make(..., render_mode='ansi')")
            return None
        session, episode = self.session, self.episode
        left = session.left
        head = (
            f"{episode.task_name} on {episode.chip_name}: best {session.best_speedup:.2f}x, "
            f"{left['evaluations']} evaluations and {left['calls']} calls left"
        )
        lines = enumerate(session.last_source.splitlines(), 1)
        text = "\n".join(f"{number:>4} {line}" for number, line in lines)
        return f"{head}\n\n{_cut(self._answer.text, self._report)}\n\n{text}\n"

    # Copies.

    def clone(self) -> KernelSourceEnv:
        """An independent copy in the same place of the episode: its actions done again."""
        return _restored(*self._parts(self._memory))

    def __deepcopy__(self, _memo: object) -> KernelSourceEnv:
        return self.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what was done; the memory stays behind, so kernels are timed again."""
        return _restored, self._parts(None)

    # Parts.

    def _drawn(self, number: int, given: dict[str, Any]) -> Episode:
        """The episode of a number; the options come before the arguments."""
        named = {key: value for key, value in given.items() if value is not None}
        if "task" not in named:
            named = self._measured | named
        if named.get("cases") is None:
            task = self.suite.checked({"task": named["task"]})["task"][1]
            named["cases"] = task.cases
        return self.suite.draw(self.np_random_seed, number, named)

    def _begin(self, episode: Episode, docs: str, start: Any) -> None:
        values = self.terms.as_dict() | {"docs": docs}
        chip = episode.chip
        kernel = kernel_of(start_of(episode.task, chip, start), chip)
        plan = Plan(
            *(episode.task, episode.cases, chip, AGENT, 0, self._budget, kernel),
            terms=Terms(**values),
        )
        session = SourceSession(plan, memory=self._memory)
        cycles = tuple(each.reference_cycles for each in session.log[0].cases)
        text = f"{instructions(plan)}\n{GUIDE}\n{task_text(task_data(plan, cycles))}\n"
        self._episode, self._begun, self._session = episode, (episode, docs, start), session
        self._actions, self._tested, self._running = [], 0, True
        self._answer = Answer(True, text, {}, "", session.left)
        self._before = math.log2(session.best_speedup)
        self._rewarded = self._worth()

    def _do(self, action: Any) -> Answer:
        """Call what the action says; a call that is spent for nothing where it says nothing."""
        session = self.session
        self._actions.append(action)
        tool, arguments = taken(action, session.tools, self.terms.source)
        answer = session.call(tool, arguments)
        if "cases" in answer.data and tool == "test":
            self._tested = answer.data["evaluation"]
        if not session.ended and not session.left["evaluations"]:
            session.close(f"its {self._budget} evaluations are spent")
            text = f"{answer.text}\nThe session is over: {session.ended}."
            answer = Answer(answer.ok, text, answer.data, session.ended, answer.left)
        self._answer = answer
        self._running = not session.ended
        return answer

    def _worth(self) -> float:
        """What rewards are differences of."""
        session = self.session
        if self.reward == "current":
            return math.log2(session.log[self._tested].speedup)
        if self.reward == "final" and self._running:
            return self._before
        return math.log2(session.best_speedup)

    def _require_reset(self) -> None:
        if self._session is None:
            raise ResetNeeded("call reset() first")

    def _observation(self) -> Observation:
        session, terms = self.session, self.session.terms
        entry, left = session.log[self._tested], session.left
        cases = [math.log2(case.speedup) for case in entry.cases[:MOST_CASES]]
        numbers = [
            math.log2(session.best_speedup),
            math.log2(entry.speedup),
            float(entry.correct is True),
            left["evaluations"] / self._budget,
            left["calls"] / terms.calls,
            float(self._answer.ok),
            float(len(entry.cases)),
            *cases,
            *[0.0] * (MOST_CASES - len(cases)),
        ]
        return {
            "metrics": np.array([rounded(number) for number in numbers], dtype=np.float32),
            "report": _cut(self._answer.text, self._report),
            "source": _plain(session.last_source)[: terms.source],
        }

    def _info(self, illegal: int, why: str) -> Info:
        session = self.session
        entry, chosen = session.log[self._tested], session.chosen
        cycles = np.full(MOST_CASES, -1, dtype=np.int64)
        for number, case in enumerate(entry.cases[:MOST_CASES]):
            cycles[number] = -1 if case.cycles is None else case.cycles
        found = {
            "answer": json.dumps(self._answer.as_dict()),
            "best_speedup": np.float64(session.best_speedup),
            "chosen": np.int64(-1 if chosen is None else chosen.index),
            "correct": np.int8(-1 if entry.correct is None else entry.correct),
            "cycles": cycles,
            "docs": session.terms.docs,
            "ended": session.ended,
            "evaluations": np.int64(len(session.log)),
            "evaluations_left": np.int64(session.left["evaluations"]),
            "illegal": np.int8(illegal),
            "speedup": np.float64(entry.speedup),
            "steps": np.int64(len(self._actions)),
            "why": why,
        }
        named = {**self._episode.options, "chip_digest": self._episode.chip.digest}
        return found | named | {"number": np.int64(self._number)}

    def _parts(self, memory: Memory | None) -> tuple[Any, ...]:
        place = None
        if self._session is not None:
            place = (self._begun, self.actions, self._number, self._next)
        spaces_too = chance_of(self.action_space), chance_of(self.observation_space)
        chance = copy.deepcopy((self._np_random, self._np_random_seed, *spaces_too))
        return type(self), self._arguments, memory, self.spec, place, chance


def _restored(
    kind: type[KernelSourceEnv],
    arguments: dict[str, Any],
    memory: Memory | None,
    spec: Any,
    place: Any,
    chance: Any,
) -> KernelSourceEnv:
    env = kind(**arguments, memory=memory)
    env.spec = spec
    env._np_random, env._np_random_seed, acting, seeing = chance
    env.action_space = with_chance(env.action_space, acting)
    env.observation_space = with_chance(env.observation_space, seeing)
    if place is not None:
        begun, actions, env._number, env._next = place
        env._begin(*begun)
        for action in actions:
            env._do(action)
            env._rewarded = env._worth()
    return env


def _plain(text: str) -> str:
    """A text in the characters of the spaces."""
    return "".join(sign if sign in CHARACTERS else "?" for sign in text)


def _cut(text: str, most: int) -> str:
    """A text of a report, marked where it is cut."""
    if len(text) > most:
        end = f"\n... cut, {len(text):,} characters in all"
        text = text[: most - len(end)] + end
    return _plain(text)
