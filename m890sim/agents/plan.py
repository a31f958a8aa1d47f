"""Plan: what an optimisation run is, and the same as the manifest of its directory.

A manifest names everything that the run follows from by its digest, and holds what a reader could
not look up: the chip's numbers and the text of the start kernel.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from typing import Any

from m890sim.agents.differences import difference
from m890sim.agents.files import MANIFEST
from m890sim.agents.reading import RunError
from m890sim.agents.terms import Terms
from m890sim.chip import ChipSpec, check_identity
from m890sim.digests import digest_of
from m890sim.errors import ChipError, M890Error, TaskError
from m890sim.judge.evaluation import package_version
from m890sim.kernel import digest, print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.messages import shown
from m890sim.schedule import EDITS
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import DISTRIBUTIONS as ALL_DISTRIBUTIONS
from m890sim.workloads import KERNELS, Case, Task, known_task, load_kernel

KIND = "m890sim optimize run"
FORMAT = 2
# The gate of the search: a share of the rows on every distribution. One distribution alone sold
# kernels that are right on ordinary inputs only. The best kernel is judged in full at the end.
DISTRIBUTIONS = tuple(ALL_DISTRIBUTIONS)
GATE_SEED = 0
GATE_ROWS = 1  # of each output and distribution
HIDDEN = 8  # hidden cases, where the task has a generator of them
# Bounds of what a record may ask of whoever verifies it: each hidden case of a large task takes a
# quarter of a second for each kernel of the final judgement, and an evaluation about as much.
MOST_HIDDEN = 100
MOST_EVALUATIONS = 100_000
MOST_SEED = 2**63 - 1
MOST_NAME = 100  # characters of an agent's name
FREE = ("python", "agent", "seed", "evaluations")  # what a manifest may say as it likes


class DifferError(RunError):
    """A record that is whole, and says what does not hold here."""


class UnknownTaskError(RunError):
    """A record of a task from outside, which must be given to read it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run's result follows from.

    The agent need not be one of this package: records of others are verified too.
    Raises: ValueError for a seed, a number or a name that cannot be; RunError for a start kernel
    that has the name of a built-in one and is another, and for hidden cases that nothing draws.
    """

    task: Task
    cases: tuple[Case, ...]
    chip: ChipSpec
    agent: str
    seed: int
    evaluations: int
    start: Kernel
    hidden: int = 0  # cases that the best kernel meets at the end
    terms: Terms | None = None  # of an agent that writes source; None: of one that edits

    def __post_init__(self) -> None:
        for name, least, most in (
            ("seed", 0, MOST_SEED),
            ("evaluations", 1, MOST_EVALUATIONS),
            ("hidden", 0, MOST_HIDDEN),
        ):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(
                    f"{name} must be an integer of at least {least}, not {value!r:.60}"
                )
            if value > most:
                raise ValueError(f"{name} must be at most {most}, not {value!r:.60}")
        if not isinstance(self.agent, str) or not 0 < len(self.agent) <= MOST_NAME:
            raise ValueError(
                f"agent must be a name of 1 to {MOST_NAME} characters, not {self.agent!r:.60}"
            )
        if not self.cases:
            raise ValueError("a run needs at least one case")
        if self.hidden and self.task.hidden is None:
            # Said now and not after the search.
            raise RunError(
                f"task {self.task.name} has no generator of hidden cases; hidden must be 0, not "
                f"{self.hidden}"
            )
        if self.hidden:  # a generator that fails does so now too
            self.task.hidden_cases(min(self.hidden, HIDDEN), 0)
        check_name(self.start, self.chip)

    @property
    def verify(self) -> str:
        """When the gate runs: a text that somebody wrote is checked whenever it is timed."""
        return "best" if self.terms is None else "always"

    def manifest(self) -> dict[str, Any]:
        """The plan as plain data, with the versions that it holds for."""
        terms = {} if self.terms is None else {"terms": self.terms.as_dict()}
        return terms | {
            "kind": KIND,
            "format": FORMAT,
            "m890sim": package_version(),
            "timing_version": TIMING_VERSION,
            "python": platform.python_version(),
            "task": {
                "name": self.task.name,
                "digest": self.task.digest,
                "outputs": list(self.task.outputs),
                "tolerance": float(self.task.tolerance),
            },
            "cases": [{"case": case.name, "digest": case.digest} for case in self.cases],
            "chip": {"digest": self.chip.digest, "numbers": asdict(self.chip)},
            "agent": self.agent,
            "seed": self.seed,
            "evaluations": self.evaluations,
            "verify": self.verify,
            "gate": {
                "seed": GATE_SEED,
                "distributions": list(DISTRIBUTIONS),
                "rows": GATE_ROWS,
            },
            "hidden": self.hidden,
            "edits": {"count": len(EDITS), "digest": digest_of(list(EDITS))},
            "reference": named(self.task.reference_on(self.chip)),
            "start": {**named(self.start), "source": print_kernel(self.start)},
        }


def hidden_of(task: Task) -> int:
    """How many hidden cases a run on a task ends with, where nobody says."""
    return 0 if task.hidden is None else HIDDEN


def gate_settings() -> dict[str, Any]:
    """The gate of the search as arguments of a session."""
    return {"seed": GATE_SEED, "distributions": DISTRIBUTIONS, "rows": GATE_ROWS}


def named(kernel: Kernel) -> dict[str, Any]:
    """A kernel in a record: its name and its digest."""
    return {"name": kernel.name, "digest": digest(kernel)}


def check_name(kernel: Kernel, chip: ChipSpec) -> None:
    """Refuse a kernel under the name of a built-in one that it is not. Raises: DifferError."""
    if kernel.name not in KERNELS:
        return
    own = {digest(load_kernel(kernel.name)), digest(load_kernel(kernel.name, chip))}
    if digest(kernel) not in own:
        raise DifferError(
            f"the start kernel is called {kernel.name!r} and is not the built-in kernel of that "
            "name; give it a name of its own (after `def`)"
        )


def plan_of(manifest: dict[str, Any], where: str) -> Plan:
    """The plan of a manifest; `where` names the directory in messages.

    Raises: RunError where the manifest is damaged, of another kind or of another version;
    DifferError where it names what is not so here.
    """
    if manifest.get("kind") != KIND:
        raise RunError(f"{where} is no run directory of m890 optimize, by its {MANIFEST}")
    remedy = "install that version to go on, or start a new run; nothing was changed"
    for key, here in (
        ("format", FORMAT),
        ("m890sim", package_version()),
        ("timing_version", TIMING_VERSION),
    ):
        said = manifest.get(key)
        if type(said) is not type(here) or said != here:
            raise RunError(
                f"{where} was made by another version: {key} {said!r:.60}, here {here!r}; {remedy}"
            )
    try:
        _check_known(manifest, where)
        task = known_task(_text(manifest["task"]["name"]))
        cases = tuple(task.case(_text(entry["case"])) for entry in manifest["cases"])
        chip = _chip(manifest["chip"])
        start = parse(manifest["start"]["source"], filename=_text(manifest["start"]["name"]))
        terms = Terms.of(manifest["terms"]) if "terms" in manifest else None
        agent, seed = manifest["agent"], manifest["seed"]
        evaluations, hidden = manifest["evaluations"], manifest["hidden"]
        plan = Plan(task, cases, chip, agent, seed, evaluations, start, hidden, terms)
        again = plan.manifest()
    except UnknownTaskError:
        raise
    except DifferError as error:
        raise DifferError(f"{where}: {MANIFEST}: {error}; nothing was changed") from error
    except (KeyError, TypeError, ValueError, AttributeError, M890Error) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else f"{error!s:.300}"
        raise RunError(f"{where}: {MANIFEST} is damaged: {detail}; nothing was changed") from error
    said = {key: value for key, value in manifest.items() if key not in FREE}
    found = {key: value for key, value in again.items() if key not in FREE}
    text = difference(said, found)
    if text:
        raise DifferError(
            f"{where}: {MANIFEST} says what does not hold here: {text}; "
            "a task, a chip or a kernel is not as it was when the run began, or the file was "
            "changed; nothing was changed"
        )
    return plan


def _check_known(manifest: dict[str, Any], where: str) -> None:
    """Raises: RunError for a task from outside that nobody has given."""
    name = _text(manifest["task"]["name"])
    try:
        known_task(name)
    except TaskError as error:
        raise UnknownTaskError(
            f"{where} is a run of {shown(name, 100)}: {error}; give a task from outside with "
            "--task FILE:NAME (in Python: m890sim.register_task)"
        ) from error


def _chip(data: Any) -> ChipSpec:
    """The chip of a record, built from its numbers."""
    numbers = data["numbers"]
    if not isinstance(numbers, dict):
        raise TypeError(f"the chip's numbers must not be {numbers!r:.60}")
    chip = ChipSpec(**numbers)
    try:
        check_identity(chip)
    except ChipError as error:
        raise DifferError(str(error)) from error
    return chip


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"found {value!r:.60} where a name belongs")
    return value
