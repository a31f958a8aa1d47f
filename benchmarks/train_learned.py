"""Train `learned`, its ablations and `recipe` on split train alone; writes m890sim/agents/trained/.

    pip install -e ".[learn]"
    python benchmarks/train_learned.py

1. Random moves on training cells: what each earned.
2. The fixed list that gains most, move by move, of those that earned most.
3. Trees on all samples; searches with them, from the reference, with the list first and from its
   end, give more samples; again, `--rounds` times.
4. The same samples without the chip's numbers, the profile, the program: the ablations.

The same numbers for the same arguments, on any number of workers. No chip and no shape of another
split is looked at.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from learning.proposal import (
    ListLearner,
    Samples,
    ends_of_list,
    fit,
    flat_forest,
    gather,
    job_of,
    priors_of,
)

from m890sim.agents.learned.features import MOVE_NAMES, STATE_NAMES
from m890sim.agents.learned.vocabulary import FAMILIES, NUMBERS, VOCABULARY
from m890sim.agents.recipe import recipe_text
from m890sim.bench.cells import cells_of
from m890sim.judge.evaluation import package_version
from m890sim.timing import TIMING_VERSION

FOLDER = Path(__file__).resolve().parents[1] / "m890sim" / "agents" / "trained"
TASKS = ("extend", "decode", "attention_head", "matmul", "row_softmax", "vector_add")
LIST_TASKS = ("extend", "decode", "attention_head", "matmul")
ABLATIONS = {"chip": "no-chip", "profile": "no-profile", "program": "no-program"}
PRIOR = len(STATE_NAMES) + 4  # first column of the priors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=int, default=16)
    parser.add_argument("--list-chips", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args()
    begun = time.process_time()
    args.out.mkdir(parents=True, exist_ok=True)
    cells = cells_of(("train",), TASKS, args.chips)
    print(f"{len(cells)} training cells", flush=True)
    samples = Samples([], [])
    jobs = [
        job_of(c, flat_forest(), args.seed + n, args.evaluations, 1.0) for n, c in enumerate(cells)
    ]
    told("random moves", gather(jobs, args.workers, samples))

    rows, earned = samples.whole
    priors = renewed(rows, earned)
    order = np.argsort(-priors[:, 0], kind="stable")[:110]
    learner = ListLearner(cells_of(("train",), LIST_TASKS, args.list_chips))
    chosen = learner.learn([int(n) for n in order], 34, 0.003)
    print(f"the list gains {learner.mean:.2f}x on its own cells", flush=True)
    about = about_of(args, samples)
    names = [VOCABULARY[number].name for number in chosen]
    (args.out / "recipe.json").write_text(recipe_text(names, about), encoding="utf-8")
    ends = ends_of_list(cells, tuple(chosen), args.workers)

    for turn in range(args.rounds):
        rows, earned = samples.whole
        priors = renewed(rows, earned)
        forest = fit(rows, earned, priors, (), args.trees, args.seed)
        base = args.seed + 1000 * (turn + 1)
        jobs = [
            job_of(c, forest, base + n, args.evaluations, 0.2)
            | ({"start": ends[n]}, {}, {"numbers": tuple(chosen)})[(n + turn) % 3]
            for n, c in enumerate(cells)
        ]
        told(f"round {turn + 1}", gather(jobs, args.workers, samples))
    rows, earned = samples.whole
    priors = renewed(rows, earned)
    about = about_of(args, samples)
    for without, name in (((), ""), *(((part,), f"-{n}") for part, n in ABLATIONS.items())):
        forest = fit(rows, earned, priors, without, args.trees, args.seed)
        forest = dataclasses.replace(forest, about=about | {"without": list(without)})
        file = args.out / f"learned{name}.npz"
        forest.save(file)
        error = np.mean((forest.predict(rows[::7]) - np.clip(earned[::7], 0, 1)) ** 2)
        print(f"{file.name}: {file.stat().st_size:,} bytes, squared error {error:.5f}", flush=True)
    print(f"{time.process_time() - begun:.0f} s of processor time, workers not counted")


def renewed(rows: Any, earned: Any) -> Any:
    """The priors of all samples, put into their rows too."""
    numbers = numbers_of(rows)
    gaps = rows[:, STATE_NAMES.index("of the way")]
    priors = priors_of(numbers, gaps, earned)
    rows[:, PRIOR : PRIOR + priors.shape[1]] = priors[numbers]
    return priors


def numbers_of(rows: Any) -> Any:
    """Which move a row is of: the last column."""
    return rows[:, len(STATE_NAMES) + MOVE_NAMES.index("number")].astype(np.int64)


def told(what: str, best: list[float]) -> None:
    mean = float(np.exp(np.mean(np.log(best))))
    print(f"{what}: {len(best)} searches, best speedups {mean:.2f}x in the mean", flush=True)


def about_of(args: argparse.Namespace, samples: Samples) -> dict[str, Any]:
    """Where a trained file comes from."""
    rows, earned = samples.whole
    digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes() + earned.tobytes()).hexdigest()
    given = {k: v for k, v in vars(args).items() if k not in ("out", "workers")}
    return {
        "command": "python benchmarks/train_learned.py",
        "arguments": given,
        "split": "train",
        "tasks": list(TASKS),
        "samples": len(earned),
        "samples_digest": digest,
        "families": len(FAMILIES),
        "moves": len(NUMBERS),
        "m890sim": package_version(),
        "timing_version": TIMING_VERSION,
    }


if __name__ == "__main__":
    main()
