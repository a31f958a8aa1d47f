"""A benchmark's folder, worked out again: every run, and the tables that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from m890sim.agents.files import MANIFEST
from m890sim.agents.reading import RunError, parse_object, read_bounded
from m890sim.bench.jobs import RUNS
from m890sim.bench.protocol import FILE
from m890sim.evidence.run_scores import find_runs
from m890sim.evidence.verification import Verification, verify

RESULTS = "results.json"
Told = Callable[[int, int, str], None]


def is_bench(path: Path) -> bool:
    """Whether a path is the folder of a benchmark."""
    return path.is_dir() and (path / FILE).is_file() and not (path / MANIFEST).exists()


def verify_bench(path: Path, told: Told | None = None) -> Verification:
    """Every run worked out again, then the tables; names the first difference.

    Raises: RunError for what is no folder of a benchmark, or is damaged.
    """
    from m890sim.agents.differences import difference
    from m890sim.bench.bench import as_dict, rescored

    runs = find_runs([path / RUNS])
    for number, run in enumerate(runs):
        name = str(run.relative_to(path))
        if told is not None:
            told(number, len(runs), name)
        found = verify(run)
        if found.difference is not None:
            return Verification(f"{name}: {found.difference}")
        if not found.judged:
            return Verification(f"{name}: it has no result")
    file = path / RESULTS
    if not file.exists():
        raise RunError(f"{path} has no {RESULTS}; run m890 bench --out {path} to its end first")
    said = parse_object(read_bounded(file), str(file))
    text = difference(said, as_dict(rescored(path, said)))
    return Verification(f"{RESULTS}: {text}" if text else None)
