"""Suite: episodes drawn from a split by number: a task, cases and a chip for each.

All draws are integers from SHA-256 of a text (`chip.sampling`), so that a seed gives the same
episodes on every machine; docs/environments.md, "Suite".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.chip import FAMILIES, ChipSpec, draw_chip
from m890sim.chip.drawing import NUMBERS
from m890sim.chip.families import SPLITS
from m890sim.chip.sampling import Sampler
from m890sim.errors import BindError, ChipError, LimitError, M890Error, TaskError
from m890sim.judge.arguments import cases_of, sequence_of
from m890sim.judge.evaluation import task_cycles
from m890sim.messages import described
from m890sim.session.arguments import chip_of, choice_of, integer_of, task_of
from m890sim.workloads import Case, Task
from m890sim.workloads.case import SEED_LIMIT

RULE = 1  # a change of what is drawn gets the next number
ATTEMPTS = 100  # draws of one episode, until a task fits its chip
PASSED = 200  # hidden cases of one draw that are looked at
SHARES = ("train", "train", "validation", "test")  # of all shapes
# Small enough that a new kernel is timed in milliseconds, large enough that there is work to share.
LEAST_WORK, MOST_WORK = 2**10, 2**19
MOST_LOADED = 2**21  # bytes of a case's inputs: the gate looks at sixteen sets of them
MOST_CASES = 16  # of an episode: what observations have rows for
TASKS = (
    *("vector_add", "row_softmax", "matmul", "attention_head"),
    *("swiglu", "rms_rope", "extend", "decode"),
)
# The families for training and for tests on chips like those, and those that lie outside of them.
CHIP_FAMILIES = tuple(name for name, family in FAMILIES.items() if family.splits == SPLITS)
HELD_OUT_FAMILIES = tuple(name for name in FAMILIES if name not in CHIP_FAMILIES)

OPTIONS = ("task", "chip", "cases")


@dataclass(frozen=True)
class Episode:
    """What an episode measures kernels on; the two names give task and chip again."""

    task_name: str
    task: Task
    chip_name: str
    chip: ChipSpec
    cases: tuple[Case, ...]

    @property
    def options(self) -> dict[str, Any]:
        """What a suite takes to give the same episode again; cases by name."""
        names = tuple(case.name for case in self.cases)
        return {"task": self.task_name, "chip": self.chip_name, "cases": names}


class Suite:
    """Episodes of a split, numbered from 0 for every seed.

    split: "train", "validation" or "test". tasks: Tasks, names, `file.py:NAME`. chips: names of
    families, of which chips of the split are drawn; a chip or its name (a preset,
    `family:split:number`, a TOML file) stands for itself in every split. cases: how many an episode
    has, of at least `least_work` and at most `most_work` elements or scores, with inputs of at most
    2 MiB. A chip, and the shapes of a task, belong to one split alone.
    Raises: TypeError, ValueError; TaskError, ChipError for an unknown name.
    """

    def __init__(
        self,
        split: str = "train",
        tasks: Iterable[Task | str] = TASKS,
        chips: Iterable[ChipSpec | str | Path] = CHIP_FAMILIES,
        cases: int = 2,
        least_work: int = LEAST_WORK,
        most_work: int = MOST_WORK,
    ) -> None:
        self.split = choice_of("split", split, SPLITS)
        self.count = integer_of("cases", cases, 1, MOST_CASES)
        self.least_work = integer_of("least_work", least_work, 0)
        self.most_work = integer_of("most_work", most_work, max(1, self.least_work))
        self._tasks: dict[str, Task] = _by_name("tasks", tasks, (Task, str), _task_entry)
        self._chips: dict[str, ChipSpec | None] = _by_name(  # None: a family
            "chips", chips, (ChipSpec, str, Path), self._chip_or_family
        )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that are drawn from."""
        return tuple(self._tasks.values())

    def draw(self, seed: int, number: int, options: dict[str, Any] | None = None) -> Episode:
        """Episode `number` of a seed; options: "task", "chip", "cases" that are not to be drawn.

        Every draw follows from split, seed and number alone. Where the task's reference does not
        fit the chip, or the task has too few cases of the split, the next attempt is taken.
        Raises: TypeError, ValueError, M890Error for options that are refused; M890Error where no
        attempt fits, with the reason of the last.
        """
        given = self.checked(options)
        reason: M890Error | None = None
        for attempt in range(ATTEMPTS):
            key = f"m890sim suite {RULE}/{self.split}/{seed}/{number}/{attempt}"
            found = self._attempt(Sampler(key), given)
            try:
                for case in found.cases:
                    task_cycles(found.task, case, found.chip)
            except (BindError, LimitError) as error:
                reason = error
            else:
                if len(found.cases) >= self.count or "cases" in given or found.task.hidden is None:
                    return found
                reason = TaskError(
                    f"task {found.task_name} has {len(found.cases)} cases of split {self.split} "
                    f"with {self.least_work:,} to {self.most_work:,} elements among {PASSED:,}, "
                    f"{self.count} are needed; widen least_work and most_work"
                )
            if {"task", "chip", "cases"} <= given.keys():
                break
        assert reason is not None
        if len(given) == 3:
            raise reason
        raise M890Error(f"{ATTEMPTS} draws and no episode; the last one: {reason}") from reason

    def checked(self, options: dict[str, Any] | None) -> dict[str, Any]:
        """Options by name, as (name, task), (name, chip) and a tuple of cases; None left out.

        Raises: as `draw`.
        """
        given = {key: value for key, value in (options or {}).items() if value is not None}
        found: dict[str, Any] = {}
        for key in given:
            if key not in OPTIONS:
                raise ValueError(f"options may have {', '.join(OPTIONS)}, not {described(key)}")
        if "task" in given:
            found["task"] = self._task_option(given["task"])
        if "chip" in given:
            found["chip"] = self._chip_option(given["chip"])
        if "cases" in given:
            if "task" not in found:
                raise ValueError("options have 'cases' and no 'task'; give the task of the cases")
            found["cases"] = _case_option(found["task"][1], given["cases"])
        return found

    def _attempt(self, sampler: Sampler, given: dict[str, Any]) -> Episode:
        name, task = given.get("task") or sampler.pick("task", tuple(self._tasks.items()))
        chip_name, chip = given.get("chip") or sampler.pick("chip", tuple(self._chips.items()))
        if chip is None:
            chip = draw_chip(chip_name, self.split, sampler.uniform("number", 0, NUMBERS - 1))
            chip_name = chip.name
        cases = given.get("cases") or self._cases(task, sampler)
        return Episode(name, task, chip_name, chip, cases)

    def _cases(self, task: Task, sampler: Sampler) -> tuple[Case, ...]:
        """Hidden cases of the split, the first of a drawn seed; public ones where there are none of
        those.
        """
        if task.hidden is None:
            left, found = list(task.cases), []
            for turn in range(min(self.count, len(left))):
                found.append(left.pop(sampler.uniform(f"public {turn}", 0, len(left) - 1)))
            return tuple(found)
        seed = sampler.uniform("cases", 0, SEED_LIMIT // 2 - 1)
        found = []
        for index in range(PASSED):
            case = task.hidden_case(seed, index)
            small = self.least_work <= case.work <= self.most_work
            if small and case.loaded_bytes <= MOST_LOADED and split_of_case(case) == self.split:
                found.append(case)
                if len(found) == self.count:
                    break
        return tuple(found)

    # What names stand for.

    def _task_option(self, value: Any) -> tuple[str, Task]:
        if isinstance(value, (str, Task)):
            for name, task in self._tasks.items():
                if value is task or value == name or value == task.name:
                    return name, task
        return _task_entry(value)

    def _chip_option(self, value: Any) -> tuple[str, ChipSpec]:
        own = self._chips.get(value) if isinstance(value, str) else None
        return _chip_entry(value) if own is None else (value, own)

    def _chip_or_family(self, value: Any) -> tuple[str, ChipSpec | None]:
        if isinstance(value, str) and value in FAMILIES:
            draw_chip(value, self.split, 0)  # which refuses a split that the family has not
            return value, None
        try:
            return _chip_entry(value)
        except ChipError as error:
            if isinstance(value, str) and ":" not in value and not value.endswith(".toml"):
                raise ChipError(f"{error}; the families are: {', '.join(FAMILIES)}") from error
            raise


def _task_entry(value: Any) -> tuple[str, Task]:
    task = task_of(value)
    return (value if isinstance(value, str) else task.name), task


def _chip_entry(value: Any) -> tuple[str, ChipSpec]:
    chip = chip_of(value)
    return (chip.name if isinstance(value, ChipSpec) else str(value)), chip


def _case_option(task: Task, value: Any) -> tuple[Case, ...]:
    """Cases, or their names, hidden ones too. Raises: TypeError, ValueError, TaskError."""
    members = (value,) if isinstance(value, (str, Case)) else value
    members = sequence_of("cases", members, "cases or their names")
    if len(members) > MOST_CASES:
        raise ValueError(f"an episode has at most {MOST_CASES} cases, not {len(members)}")
    return cases_of(task, members)


def split_of_case(case: Case) -> str:
    """The split that a case belongs to, by its task and the values of its symbols alone."""
    text = ";".join(f"{name}={value}" for name, value in sorted(case.symbols.items()))
    label = f"m890sim suite {RULE} shapes/{case.task}/{text}"
    return SHARES[hashlib.sha256(label.encode()).digest()[0] % len(SHARES)]


def _by_name(what: str, values: Any, kinds: tuple[type, ...], name_of: Any) -> dict[str, Any]:
    """What a suite draws from, by name. Raises: TypeError, ValueError for none, and for two of one
    name.
    """
    if isinstance(values, kinds):
        values = (values,)
    found: dict[str, Any] = {}
    for value in sequence_of(what, values, f"names or members of {what}"):
        name, member = name_of(value)
        if name in found:
            raise ValueError(f"{what} must name each one once, not {described(name)} twice")
        found[name] = member
    if not found:
        raise ValueError(f"{what} must name at least one, not none")
    return found
