"""Plan: what an optimisation run is, and the same as the manifest of its directory."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from m890sim.agents.files import MANIFEST, RunError
from m890sim.agents.registry import get_agent
from m890sim.chip import ChipSpec, get_chip
from m890sim.errors import M890Error
from m890sim.kernel import digest, print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.schedule import EDITS
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import Case, Task, get_task, load_kernel

KIND = "m890sim optimize run"
FORMAT = 1
# The gate of the search: one distribution finds a kernel that computes something else, and takes
# half the time of all. The best kernel is judged on all of them at the end.
DISTRIBUTIONS = ("normal",)
GATE_SEED = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run's result follows from.

    Raises: AgentError for an unknown agent, ValueError for a seed or a number of evaluations that
    cannot be.
    """

    task: Task
    cases: tuple[Case, ...]
    chip: ChipSpec
    agent: str  # key of AGENTS
    seed: int
    evaluations: int
    start: Kernel

    def __post_init__(self) -> None:
        get_agent(self.agent)
        for name, least in (("seed", 0), ("evaluations", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")

    def manifest(self) -> dict[str, Any]:
        """The plan as plain data, with the versions that it holds for."""
        return {
            "kind": KIND,
            "format": FORMAT,
            "m890sim": package_version(),
            "timing_version": TIMING_VERSION,
            "python": platform.python_version(),
            "task": self.task.name,
            "cases": [{"case": case.name, "digest": _digest(case)} for case in self.cases],
            "chip": {"name": self.chip.name, "digest": _digest(asdict(self.chip))},
            "agent": self.agent,
            "seed": self.seed,
            "evaluations": self.evaluations,
            "verify": "best",
            "gate": {"seed": GATE_SEED, "distributions": list(DISTRIBUTIONS)},
            "edits": {"count": len(EDITS), "digest": _digest(list(EDITS))},
            "reference": {
                "name": self.task.reference_name,
                "digest": digest(load_kernel(self.task.reference_name)),
            },
            "start": {
                "name": self.start.name,
                "digest": digest(self.start),
                "source": print_kernel(self.start),
            },
        }


def plan_of(manifest: dict[str, Any], where: str) -> Plan:
    """The plan of a manifest; `where` names the directory in messages.

    Raises: RunError where the manifest is damaged, of another kind or of another version.
    """
    if manifest.get("kind") != KIND:
        raise RunError(f"{where} is no run directory of m890 optimize, by its {MANIFEST}")
    remedy = "install that version to go on, or start a new run; nothing was changed"
    for key, here in (
        ("format", FORMAT),
        ("m890sim", package_version()),
        ("timing_version", TIMING_VERSION),
    ):
        if manifest.get(key) != here:
            raise RunError(
                f"{where} was made by another version: {key} {manifest.get(key)!r}, "
                f"here {here!r}; {remedy}"
            )
    try:
        task = get_task(manifest["task"])
        cases = tuple(task.case(entry["case"]) for entry in manifest["cases"])
        chip = get_chip(manifest["chip"]["name"])
        start = parse(manifest["start"]["source"], filename=manifest["start"]["name"])
        agent, seed = manifest["agent"], manifest["seed"]
        plan = Plan(task, cases, chip, agent, seed, manifest["evaluations"], start)
        again = plan.manifest()
    except (KeyError, TypeError, ValueError, AttributeError, M890Error) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{where}: {MANIFEST} is damaged: {detail}; nothing was changed") from error
    for key, value in again.items():
        if key not in ("python", "start") and manifest.get(key) != value:
            raise RunError(
                f"{where}: {key} is not as it was when the run began ({MANIFEST}); {remedy}"
            )
    if manifest["start"].get("digest") != again["start"]["digest"]:
        raise RunError(
            f"{where}: {MANIFEST} is damaged: the start kernel does not have its digest; "
            "nothing was changed"
        )
    return plan


@cache
def package_version() -> str:
    """The version of the installed package; the same as long as the process runs."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("m890sim")
    except PackageNotFoundError:
        return "(not installed)"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
