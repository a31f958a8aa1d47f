"""One submission of a leaderboard: read once, worked out again, scored; here or in a process apart.

A record says itself how much there is to work out, so a board gives each a limit of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from m890sim.agents.reading import RunError
from m890sim.evidence.record import Record, read_submission
from m890sim.evidence.verification import verify_record
from m890sim.judge import judge_kernel
from m890sim.judge.isolation import ANSWERED, REFUSED, run_isolated
from m890sim.language import parse

MEMORY_MB = 4096  # that one submission may take


@dataclass(frozen=True, slots=True)
class Scored:
    """A submission that holds, on the hidden cases."""

    file: str
    task: str
    task_digest: str
    chip: str
    chip_digest: str
    agent: str
    start: str  # name of the start kernel
    start_digest: str
    evaluations: int  # budget
    public: float  # speedup on the cases that the agent knew
    hidden: float  # speedup on the hidden ones
    kernels: tuple[str, ...]  # digests of all that was evaluated beside the start kernel, sorted


def score(file: Path, hidden: int, seed: int) -> Scored:
    """Verify a submission and judge its best kernel by every gate and on hidden cases.

    Raises: M890Error, saying why it is not taken.
    """
    record: Record = read_submission(file)
    found = verify_record(record)
    if found.difference is not None:
        raise RunError(found.difference)
    plan = record.plan()
    if record.best is None or record.result is None or record.result["best"] is None:
        raise RunError("it has no right kernel")
    kernel = parse(record.best, filename=file.name)
    judged = judge_kernel(kernel, plan.task, plan.chip, hidden=hidden, seed=seed, cases=plan.cases)
    if judged.refuted:
        reason = next(f"{gate.gate}: {gate.reason}" for gate in judged.gates if not gate.passed)
        raise RunError(f"wrong with seed {seed}: {reason}")
    start = plan.manifest()["start"]
    return Scored(
        file.name,
        plan.task.name,
        plan.task.digest,
        plan.chip.name,
        plan.chip.digest,
        plan.agent,
        start["name"],
        start["digest"],
        plan.evaluations,
        judged.speedup,
        judged.speedup if judged.hidden is None else judged.hidden.speedup,
        tuple(sorted({line["digest"] for line in record.lines} - {start["digest"]})),
    )


def score_apart(file: Path, hidden: int, seed: int, seconds: float) -> Scored:
    """As `score`, in a process that is ended after so many seconds, or at MEMORY_MB.

    Raises: RunError, saying why it is not taken.
    """
    data = {"file": str(file.absolute()), "hidden": hidden, "seed": seed}
    found = run_isolated("score", data, seconds=seconds, memory_mb=MEMORY_MB, module=__name__)
    if found.ended == REFUSED:
        raise RunError(found.reason)
    if found.ended != ANSWERED or found.answer is None:
        raise RunError(f"it was not worked out: {found.reason}")
    names = {entry.name for entry in fields(Scored)}
    if found.answer.keys() != names:
        raise RunError("it was not worked out: the process gave an answer of another form")
    return Scored(**found.answer | {"kernels": tuple(found.answer["kernels"])})


def _score(data: Mapping[str, Any]) -> dict[str, Any]:
    return asdict(score(Path(data["file"]), data["hidden"], data["seed"]))


# What a child of `score_apart` may be asked for.
FUNCTIONS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"score": _score}
