"""KernelEditEnv: a kernel, edited step by step and measured after each edit."""

from __future__ import annotations

import copy
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded

from m890_envs.chance import chance_of, with_chance
from m890_envs.choices import Choices, MacroEdits, SingleEdits
from m890_envs.features import progress_features
from m890_envs.render import Window, picture, report
from m890_envs.view import OBSERVATIONS, View, Viewer
from m890sim.chip import ChipSpec
from m890sim.errors import TaskError
from m890sim.garbage import uncollected
from m890sim.judge.arguments import sequence_of
from m890sim.kernel.ir import Kernel
from m890sim.messages import described
from m890sim.schedule import Edit, EditError
from m890sim.schedule.actions import ROWS as ACTION_ROWS
from m890sim.schedule.actions import STOP
from m890sim.schedule.growth import statements_of
from m890sim.schedule.macros import Macro
from m890sim.session import Facade, KernelSession, LogEntry, Memory
from m890sim.session.arguments import choice_of, count_of, integer_of, penalty_of
from m890sim.workloads import KERNELS, Case, Task

Observation = dict[str, Any]  # name -> float32 array
Info = dict[str, Any]

REWARDS = ("best", "current", "final")
ACTIONS = ("single", "macro")
# Places that an observation shows where `sites` is None.
SITES = {"task": 128, "uniform": 192, "graph": 512}
LONGER = 2.5  # times as many statements as the reference has, for kernels under macros
MOST_SITES = 4096  # the observation has a row for each, a mask of single edits one number for each
ROWS = 8  # that the gate looks at on every distribution: enough for mistakes that they name
# What the shared memory keeps: kernels with their edits and features, about 100 kB each, and
# results. Kernels of an episode follow on one another, so a large one would save little more time.
STATES, RESULTS = 512, 10_000
_shared: list[Memory] = []


def shared_memory() -> Memory:
    """The memory that environments of this process share unless they are given one."""
    if not _shared:
        _shared.append(Memory(states=STATES, results=RESULTS))
    return _shared[0]


class KernelEditEnv(gym.Env[Observation, Any]):
    """An episode begins with a kernel; every action edits it, and the new kernel is timed.

    Description: task, cases (all where None) and chip say what a kernel is measured on. start is
    the kernel of a reset: "reference", "textbook", a built-in name, a path or a Kernel.

    Actions: Discrete. 0 stops. actions="single": every other id is an edit at a place, see
    `m890sim.schedule.actions`. "macro": an edit at all its places, `m890sim.schedule.macros`; one
    evaluation, and the same ids for every task and chip. `info["action_mask"]` and `action_masks()`
    are 1 where an edit applies. An illegal action changes nothing but the steps left, costs
    `penalty`, and `info["why"]` says why.

    Observations: a dict of arrays, field by field in docs/environments.md. observation="task": its
    shapes are the task's. "uniform": one set of shapes for all tasks, cases and chips. "graph": as
    that, with statements and tensors as nodes. None: "uniform" with macro actions, else "task".

    Rewards: "best", the rise of log2(best valid speedup): returns add up to the log2 of the final
    speedup over that of the start; "current", the change of log2(speedup) of the kernel as it is;
    "final", all of the rise of the best with the last step.

    End: STOP terminates. `horizon` steps or `budget` evaluations, the start's being the first,
    truncate; None for no end. A kernel evaluated before in the episode costs no evaluation.

    Arguments: verify: "best" (a kernel must pass the functional gate before it counts as best),
    "gains" (the same, but that none is asked that is no faster than the reference), "always" or
    "never". seed, distributions (all where None), rows (every row where None): what the
    gate looks at. sites: statements that the observation shows, and that single edits reach: with
    "uniform" and "graph" no edit is legal that would put one out of reach; None for 128, 192, 512
    by observation. statements: that macros make a kernel have at most; where None two
    and a half times those of the task's reference, and no more than the observation shows.
    action_rows: so many rows of `actions.ROWS`, which grows with newer edits: all
    where None. shown: the case whose cycles
    the program's rows and pictures show, the first where None. memory: a Memory to share; the
    process's own where None. render_mode: "ansi", "rgb_array" or "human", which opens a window and
    needs the extra `m890sim[human]`. `reset(options={"start": ...})`
    begins one episode with another kernel. There is no chance in it: `reset(seed=...)` seeds
    `np_random` alone.

    Raises: what KernelSession raises for what it refuses; ValueError for impossible arguments.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "ansi", "rgb_array"], "render_fps": 4}

    _spec: EnvSpec | None = None
    _options: tuple[str, ...] = ("start",)  # that a reset takes

    def __init__(
        self,
        task: Task | str = "extend",
        cases: Iterable[Case | str] | None = None,
        chip: ChipSpec | str = "m890",
        *,
        start: Kernel | str | Path = "reference",
        horizon: int | None = 256,
        budget: int | None = None,
        reward: str = "best",
        verify: str = "best",
        seed: int = 0,
        distributions: Sequence[str] | None = None,
        rows: int | None = ROWS,
        penalty: float = 0.01,
        actions: str = "single",
        observation: str | None = None,
        sites: int | None = None,
        statements: int | None = None,
        action_rows: int | None = None,
        shown: str | None = None,
        memory: Memory | None = None,
        render_mode: str | None = None,
    ) -> None:
        horizon, budget = count_of("horizon", horizon, 1), count_of("budget", budget, 2)
        penalty = penalty_of(penalty)
        choice_of("reward", reward, REWARDS)
        choice_of("actions", actions, ACTIONS)
        if observation is None:
            observation = "uniform" if actions == "macro" else "task"
        choice_of("observation", observation, OBSERVATIONS)
        sites = SITES[observation] if sites is None else integer_of("sites", sites, 1, MOST_SITES)
        if statements is not None:
            if actions != "macro":
                raise ValueError("statements= is for actions='macro'; single edits have sites=")
            statements = integer_of("statements", statements, 1, MOST_SITES)
        if action_rows is None:
            action_rows = len(ACTION_ROWS)
        action_rows = integer_of("action_rows", action_rows, 1, len(ACTION_ROWS))
        if render_mode is not None:
            choice_of("render_mode", render_mode, tuple(self.metadata["render_modes"]))
        if cases is not None and not isinstance(cases, (str, Case)):
            cases = sequence_of("cases", cases, "cases or their names")
        if distributions is not None and not isinstance(distributions, str):
            distributions = sequence_of("distributions", distributions, "names")
        self._arguments: dict[str, Any] = {
            "task": task,
            "cases": cases,
            "chip": chip,
            "start": start,
            "horizon": horizon,
            "budget": budget,
            "reward": reward,
            "verify": verify,
            "seed": seed,
            "distributions": distributions,
            "rows": rows,
            "penalty": penalty,
            "actions": actions,
            "observation": observation,
            "sites": sites,
            "statements": statements,
            "action_rows": action_rows,
            "shown": shown,
            "render_mode": render_mode,
        }
        self.render_mode = render_mode
        self.horizon, self.reward, self.penalty = horizon, reward, penalty
        self._constructed = self._arguments  # what another one like it is made with
        self._memory = shared_memory() if memory is None else memory
        self._measure_on(task, cases, chip)
        self._window = Window(self.metadata["render_fps"]) if render_mode == "human" else None
        self._session = self._template
        self._steps = 0  # since the reset
        self._outside = False  # whether somebody was given this episode's session
        self._place = self._session.position()  # of the kernel that the view shows, where so
        self._running = False
        self._entry: LogEntry
        self._view: View
        self._best = self._before = 0.0  # log2 of the best speedup, now and at the reset
        self._rewarded = 0.0  # what rewards are differences of, at the last one
        # What was done last, and how many edits there were after it.
        self._last: tuple[str, int] = ("", 0)
        self.action_space = spaces.Discrete(self._choices.n)
        self.observation_space = self._viewer.space()

    # What is going on.

    @property
    def spec(self) -> EnvSpec | None:
        """What `gymnasium.make` made it from, without `memory`: that changes nothing."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and "memory" in spec.kwargs:
            spec = copy.copy(spec)
            spec.kwargs = {key: value for key, value in spec.kwargs.items() if key != "memory"}
        self._spec = spec

    @property
    def session(self) -> Facade:
        """The session of this episode: the kernel, the log of its evaluations, the best one.

        What it evaluates counts in the episode, and what it gains is in the next reward. A kernel
        that it leaves without an evaluation is evaluated when its view is needed; where nothing is
        left for that, the episode goes back to the last kernel that was.
        """
        if not self._outside:
            self._outside, self._place = True, self._session.position()
        return Facade(self._session)

    @property
    def macro_statements(self) -> int | None:
        """Statements that actions make a kernel have at most; None where nothing bounds them."""
        return self._choices.most

    def action_masks(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which actions are legal now: bool array (n,), a fresh one."""
        self._require_reset()
        if self._outside:
            self._catch_up()
        return self._viewer.mask(self._view).view(np.bool_)

    def edit_of(self, action: int) -> Edit | Macro | None:
        """What an action means now: an edit or a macro; None for STOP.

        Raises: EditError where the kernel has no such place or the edit has nothing to do there;
        TypeError, ValueError for what is no action.
        """
        return self._choices.meaning_of(self._session.kernel, self._choices.number_of(action))

    def action_of(self, edit: Edit | Macro) -> int | None:
        """The action of an edit of the kernel as it is, or of a macro; None where it has none.

        Raises: TypeError for what is neither, or not what actions are here.
        """
        return self._choices.number_for(self._session.kernel, edit)

    # Gymnasium's interface.

    @uncollected
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin an episode. options: {"start": kernel, name or path}, for this episode alone.

        Raises: TypeError, ValueError for what are no options or an unknown one, or for a seed that
        Gymnasium does not take; what KernelSession.load raises for the kernel.
        """
        given = options_of(options, self._options)
        if seed is not None:
            integer_of("seed", seed, 0)
        super().reset(seed=seed)
        start = given.pop("start", None)
        self._draw(seed is not None, given)
        if start is None:
            self._template.evaluate()
            session = self._template.clone()
        else:
            session = self._blank()
            session.load(start_of(session.task, session.chip, start))
            self._choices.check_start(session.kernel)
        self._session, self._steps, self._outside = session, 0, False
        self._last = ("", 0)
        self._show(session.evaluate())
        self._before = self._best
        self._running = True
        self._rewarded = self._worth()
        if self._window is not None:
            self.render()
        return self._observation(), self._info(0, reason_of(self._entry))

    @uncollected
    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Apply an action.

        Raises: TypeError, ValueError for what lies outside the action space; ResetNeeded where no
        episode is going on.
        """
        number = self._choices.number_of(action)
        if not self._running:
            self._require_reset()
            raise ResetNeeded("the episode has ended; call reset() before the next step")
        session = self._session
        if self._outside:
            self._catch_up()
        view, illegal, why = self._view, 0, ""
        if number != STOP and self._outside and session.left == 0:
            why = "the budget was spent before this step, through the session; nothing was edited"
        elif number != STOP:
            place = bisect_left(view.ids, number)
            if place < len(view.ids) and view.ids[place] == number:
                edit = view.edits[place] if view.edits else None
                done = self._choices.take(session, number, edit)
                self._last = done, len(session.edits)
                self._show(session.evaluate())
                why = reason_of(self._entry)
            else:
                illegal, why = 1, self._refusal(number)
        self._steps += 1
        terminated = number == STOP
        truncated = not terminated and (self._steps == self.horizon or session.left == 0)
        self._running = not (terminated or truncated)
        before, self._rewarded = self._rewarded, self._worth()
        reward = self._rewarded - before - illegal * self.penalty
        if self._window is not None:
            self.render()
        return self._observation(), reward, terminated, truncated, self._info(illegal, why)

    def render(self) -> Any:
        """A picture of the kernel as it is, in the way of the render mode.

        "ansi": text, the kernel with its hottest lines marked and a line about its speedup.
        "rgb_array": uint8 (height, width, 3), what the engines do on the shown case.
        "human": the same in a window, which every reset and step renew; gives None.
        """
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode: gym.make(..., render_mode='ansi')")
            return None
        self._require_reset()
        if self._outside:
            self._catch_up()
        case, last = self._viewer.shown, self._last_edit()
        if self.render_mode == "ansi":
            return report(self._session, self._entry, self._view.shares, case, last)
        found = picture(self._session, self._entry, case, last)
        if self._window is None:
            return found
        self._window.show(found)
        return None

    def close(self) -> None:
        """Close the window, where there is one."""
        if self._window is not None:
            self._window.close()

    # Copies.

    def clone(self) -> KernelEditEnv:
        """An independent copy in the same place of the episode, in microseconds."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._template = self._template.clone()
        other._session = self._session.clone()
        other._np_random = copy.deepcopy(self._np_random)
        other.action_space = with_chance(self.action_space, chance_of(self.action_space))
        seen = self.observation_space
        other.observation_space = with_chance(seen, chance_of(seen))
        if self._window is not None:
            other._window = Window(self.metadata["render_fps"])
        return other

    def __deepcopy__(self, _memo: object) -> KernelEditEnv:
        return self.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with the session's log and all that was spent; the memory stays behind."""
        place = self._standing() if hasattr(self, "_view") else None
        spaces_too = chance_of(self.action_space), chance_of(self.observation_space)
        chance = self._np_random, self._np_random_seed, *spaces_too
        return _restore, (type(self), self._constructed, self.spec, place, chance)

    # Parts.

    def _measure_on(
        self,
        task: Task | str,
        cases: Iterable[Case | str] | None,
        chip: ChipSpec | str,
    ) -> None:
        """Let the episodes from now on be of this task, these cases and this chip."""
        arguments, sites = self._arguments, self._arguments["sites"]
        session = self._new_session(task, cases, chip)
        session.load(start_of(session.task, session.chip, arguments["start"]))
        choices: Choices
        if arguments["actions"] == "macro":
            statements = arguments["statements"]
            if statements is None:
                statements = statements_for(session.task, sites)
            choices = MacroEdits(session, statements, arguments["action_rows"])
        else:
            bounded = arguments["observation"] != "task"
            choices = SingleEdits(session, sites, bounded, arguments["action_rows"])
        choices.check_start(session.kernel)
        self._viewer = Viewer(session, choices, arguments["observation"], sites, arguments["shown"])
        self._template, self._choices = session, choices

    def _new_session(
        self,
        task: Task | str,
        cases: Iterable[Case | str] | None,
        chip: ChipSpec | str,
    ) -> KernelSession:
        arguments = self._arguments
        return KernelSession(
            task,
            cases,
            chip,
            budget=arguments["budget"],
            verify=arguments["verify"],
            seed=arguments["seed"],
            distributions=arguments["distributions"],
            rows=arguments["rows"],
            memory=self._memory,
        )

    def _draw(self, seeded: bool, options: dict[str, Any]) -> None:
        """Choose what the episode that begins is measured on; here it is always the same.

        seeded: the reset was given a seed. options: those of the reset but for "start".
        """

    def _show(self, entry: LogEntry) -> None:
        """Make the view that of the session's kernel, which `entry` is the evaluation of."""
        session = self._session
        self._entry, self._view = entry, self._viewer.view(session, entry)
        self._best = math.log2(session.best_speedup)
        if self._outside:
            self._place = session.position()

    def _catch_up(self) -> None:
        """Follow what was done through `session` since the view was made."""
        session = self._session
        if session.digest != self._entry.digest:
            if session.left != 0 or session.knows(session.digest):
                self._show(session.evaluate())
            else:
                session.go_to(self._place)
        self._best = math.log2(session.best_speedup)

    def _standing(self) -> tuple[Any, ...]:
        """What `_resume` takes to go on from here."""
        if self._outside:
            self._catch_up()
        fixed = self._steps, self._running, self._before, self._rewarded, self._last
        return (self._session.snapshot(), *fixed)

    def _resume(
        self,
        snapshot: Any,
        steps: int,
        running: bool,
        before: float,
        rewarded: float,
        last: tuple[str, int],
    ) -> None:
        """Go on from where another environment with these arguments was."""
        self._session = KernelSession.restored(snapshot, self._template.memory)
        self._steps, self._running, self._last = steps, running, last
        self._before, self._rewarded = before, rewarded
        self._show(self._session.evaluate())

    def _blank(self) -> KernelSession:
        """A session with nothing evaluated yet, otherwise as the template."""
        template = self._template
        return self._new_session(template.task, template.cases, template.chip)

    def _require_reset(self) -> None:
        if not hasattr(self, "_view"):
            raise ResetNeeded("call reset() first")

    def _last_edit(self) -> str:
        """What was done last; empty where nothing was."""
        edits = self._session.edits
        text, count = self._last
        return text if text and count == len(edits) else str(edits[-1]) if edits else ""

    def _worth(self) -> float:
        """What rewards are differences of."""
        if self.reward == "best":
            return self._best
        if self.reward == "current":
            return math.log2(self._entry.speedup)
        return self._before if self._running else self._best

    def _refusal(self, number: int) -> str:
        """Why an action is illegal."""
        trial = self._session.clone()
        try:
            self._choices.take(trial, number, None)
        except EditError as error:
            return str(error)
        return f"{self._choices.meaning_of(self._session.kernel, number)} is not legal"

    def _observation(self) -> Observation:
        session, horizon = self._session, self.horizon
        budget = session.budget
        left = 1.0 if budget is None else max(0, budget - session.spent) / budget
        steps = 1.0 if horizon is None else max(0, horizon - self._steps) / horizon
        found = self._viewer.arrays(self._view)
        found["chip"] = self._viewer.chip.copy()
        found["progress"] = progress_features(self._best, self._entry, left, steps)
        return found

    def _info(self, illegal: int, why: str) -> Info:
        session, entry = self._session, self._entry
        left = session.left
        return {
            "action_mask": self._viewer.mask(self._view),
            "best_speedup": np.float64(session.best_speedup),
            "correct": np.int8(-1 if entry.correct is None else entry.correct),
            "cycles": self._view.cycles.copy(),
            "evaluations": np.int64(session.spent),
            "evaluations_left": np.int64(-1 if left is None else left),
            "illegal": np.int8(illegal),
            "speedup": np.float64(entry.speedup),
            "steps": np.int64(self._steps),
            "why": why,
        }


def statements_for(task: Task, sites: int) -> int:
    """How many statements macros make a kernel of a task have at most, where nobody says."""
    return min(sites - 1, round(LONGER * statements_of(task.reference)))


def options_of(options: Any, known: Sequence[str]) -> dict[str, Any]:
    """The options of a reset.

    Raises: TypeError for what are no options, ValueError for an unknown one.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(f"options must be a dict or None, not {described(options)}")
    for key in options:
        if key not in known:
            names = " alone" if len(known) == 1 else ""
            names = ", ".join(map(repr, known)) + names
            raise ValueError(f"options may have {names}, not {described(key)}")
    return dict(options)


def start_of(task: Task, chip: ChipSpec, start: Kernel | str | Path) -> Kernel | str | Path:
    """What KernelSession.load takes for a start: "reference" and "textbook" become names.

    Raises: TypeError for what is no kernel, name or path; TaskError where the task has no textbook
    kernel.
    """
    if not isinstance(start, (Kernel, str, Path)):
        raise TypeError(f"start must be a Kernel, a name or a path, not {described(start)}")
    if start == "reference":
        return task.start_on(chip)
    if start != "textbook":
        return start
    for name, row in KERNELS.items():
        if row.task == task.name and name.endswith("_textbook"):
            return name
    raise TaskError(f"task {task.name} has no textbook kernel; start from 'reference'")


def reason_of(entry: LogEntry) -> str:
    """Why a kernel failed; "" where it did not."""
    return f"{entry.code} {entry.message}" if entry.failed else ""


def _restore(
    kind: type[KernelEditEnv], arguments: dict[str, Any], spec: Any, place: Any, chance: Any
) -> KernelEditEnv:
    env = kind(**arguments)
    env.spec = spec
    env._np_random, env._np_random_seed, acting, seeing = chance
    env.action_space = with_chance(env.action_space, acting)
    env.observation_space = with_chance(env.observation_space, seeing)
    if place is not None:
        env._resume(*place)
    return env
