"""Behaviour cloning on a Minari dataset of runs: a policy of the steps that made a kernel faster.

    python benchmarks/behaviour_cloning.py clone
    m890 bench clone/bc.npz clone/bc-untrained.npz --split validation --chips 4 --budgets 16,48

The first line makes, unless they are there, clone/runs (agents on chips of split train, as of
`m890 bench`), clone/datasets/m890-train-v0 (as of `m890 dataset`) and the policies bc.npz and
bc-untrained.npz. --dataset takes another dataset. Needs the extra `data`; learns by NumPy alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from m890_envs.dataset import write_dataset
from m890_envs.flat import Flattening
from m890_envs.policies import save_policy
from m890_envs.policy import Policy
from m890_envs.registration import EDITS
from m890_envs.view import uniform_space
from m890sim.bench.bench import bench
from m890sim.bench.protocol import Protocol
from m890sim.errors import M890Error
from m890sim.judge.evaluation import package_version
from m890sim.schedule.macros import macros_of

AGENTS = ("recipe", "learned", "annealing")
BUDGET = 32  # evaluations of a run
DATASET = "m890-train-v0"
# Not "progress": a dataset's episodes have no horizon, those that the policy plays do.
FIELDS = ("action_mask", "case", "chip", "kinds", "profile", "tensors", "tunables")
HIDDEN, BATCH, RATE, DECAY = 32, 64, 1e-3, 1e-4
STEPS, STRIDE = 800, 50  # at most; between two looks at the chips that are set aside
ASIDE = 4  # one chip of so many
HORIZON = 10

Array = np.ndarray[Any, Any]
Layers = list[tuple[Array, Array]]
Steps = tuple[Array, Array, Array, Array]  # inputs, masks, actions, number of the chip


def main() -> int:
    """Make what is missing, then learn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the policies, and of all that is made")
    parser.add_argument("--chips", type=int, default=8, help="of split train (default: 8)")
    parser.add_argument("--workers", type=int, default=1, help="processes that make the runs")
    parser.add_argument("--dataset", type=Path, help="folder of a dataset that has data/")
    parser.add_argument("--seed", type=int, default=0, help="of the learning")
    args = parser.parse_args()
    if args.chips < 2 or args.workers < 1 or args.seed < 0:
        parser.error("--chips must be at least 2, --workers at least 1, --seed at least 0")
    try:
        import minari

        folder = args.dataset or made(args.out, args.chips, args.workers)
        data = minari.MinariDataset(folder / "data")
        command = f"python benchmarks/behaviour_cloning.py OUT --chips {args.chips}"
        if args.dataset:
            command = "python benchmarks/behaviour_cloning.py OUT --dataset DIR"
        learn(data, args.out, args.seed, command)
    except ImportError as error:
        print(f"behaviour_cloning: pip install 'm890sim[data]' ({error})", file=sys.stderr)
        return 2
    except (M890Error, OSError) as error:
        print(f"behaviour_cloning: {error}", file=sys.stderr)
        return 2
    return 0


def made(out: Path, chips: int, workers: int) -> Path:
    """The dataset's folder: the runs that lack are done first."""
    folder = out / "datasets" / DATASET
    if folder.exists():
        return folder
    protocol = Protocol(("train",), chips=chips, cases=1, seeds=1, budgets=(BUDGET,))
    done = bench(out / "runs", protocol, AGENTS, workers=workers)
    for where, why in done.failed:
        print(f"{where} failed: {why}", file=sys.stderr)
    found = write_dataset([out / "runs"], out / "datasets", DATASET)
    print(f"{folder}: {found['runs']} runs, {found['episodes']} episodes, {found['steps']} steps")
    print(f"digest: {found['digest']}")
    return folder


def learn(data: Any, out: Path, seed: int, command: str) -> None:
    """Learn from a dataset's improving steps, and save the policies. Raises: M890Error."""
    rng = np.random.default_rng(seed)
    blank = untrained(rng, seed, data.spec.dataset_id, command)
    steps = examples(data, blank.reader)
    chips = steps[3]
    aside = chips % ASIDE == ASIDE - 1
    if not aside.any():
        raise M890Error(
            f"the dataset's improving steps are of {len(set(chips))} chips; give runs on at least "
            f"{ASIDE}, of which one tells when to stop"
        )
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in blank.layers]
    some, others = part_of(steps, ~aside), part_of(steps, aside)
    _, losses = trained(layers, some, others, STEPS, np.random.default_rng(seed))
    best = (1 + int(np.argmin(losses))) * STRIDE
    layers, _ = trained(layers, steps, others, best, np.random.default_rng(seed))
    out.mkdir(parents=True, exist_ok=True)
    save_policy(blank, out / "bc-untrained.npz")
    save_policy(Policy(layers, **{**blank.facts, "trained": True}), out / "bc.npz")
    start = loss_of([(w.astype(np.float64), b.astype(np.float64)) for w, b in blank.layers], others)
    print(f"{len(chips)} improving steps of {data.total_steps}, on {len(set(chips))} chips")
    print(
        f"cross entropy on chips set aside: {start[0]:.2f} untrained, {min(losses):.2f} after "
        f"{best} steps; the policy has so many on all chips"
    )


def untrained(rng: np.random.Generator, seed: int, dataset: str, command: str) -> Policy:
    """A policy with small random weights and a last layer of zeros: all legal actions alike."""
    rows: int = EDITS["action_rows"]
    shape: int = Policy.__dataclass_fields__["sites"].default
    outputs = 1 + macros_of(rows)
    inputs = Flattening(uniform_space(shape), outputs, FIELDS).size
    first = rng.normal(0.0, inputs**-0.5, (inputs, HIDDEN))
    return Policy(
        [(first, np.zeros(HIDDEN)), (np.zeros((HIDDEN, outputs)), np.zeros(outputs))],
        name="bc",
        trained=False,
        provenance={
            "data": f"improving steps of the Minari dataset {dataset}, runs on chips of split train"
            if dataset == DATASET
            else f"improving steps of the Minari dataset {dataset}",
            "command": command,
            "seed": seed,
            "m890sim": package_version(),
            "numpy": np.__version__,
        },
        fields=FIELDS,
        horizon=HORIZON,
        action_rows=rows,
    )


def examples(data: Any, reader: Flattening) -> Steps:
    """The steps with a reward above 0; chips are numbered as they come.

    Raises: M890Error where there is none.
    """
    seen, masks, chosen, chips = [], [], [], []
    known: dict[bytes, int] = {}
    for episode in data.iterate_episodes():
        chip = known.setdefault(episode.observations["chip"][0].tobytes(), len(known))
        for number in np.flatnonzero(episode.rewards > 0):
            mask = episode.infos["action_mask"][number]
            observation = {key: rows[number] for key, rows in episode.observations.items()}
            seen.append(np.clip(reader.vector(observation, mask), -1.0, 1.0))
            masks.append(mask.astype(bool))
            chosen.append(int(episode.actions[number]))
            chips.append(chip)
    if not chosen:
        raise M890Error("no step of the dataset made a kernel faster; give runs that found some")
    return np.array(seen, dtype=np.float64), np.array(masks), np.array(chosen), np.array(chips)


def part_of(steps: Steps, rows: Array) -> Steps:
    """Some of the steps."""
    seen, masks, chosen, chips = (part[rows] for part in steps)
    return seen, masks, chosen, chips


def loss_of(layers: Layers, steps: Steps) -> tuple[float, list[Array]]:
    """Mean masked cross entropy, and its gradients in the order of the arrays."""
    (w0, b0), (w1, b1) = layers
    seen, masks, chosen, _ = steps
    hidden = np.tanh(seen @ w0 + b0)
    scores = np.where(masks, hidden @ w1 + b1, -np.inf)
    scores -= scores.max(axis=1, keepdims=True)
    chances = np.exp(scores)
    chances /= chances.sum(axis=1, keepdims=True)
    rows = np.arange(len(chosen))
    loss = float(-np.log(chances[rows, chosen] + 1e-12).mean())
    chances[rows, chosen] -= 1.0
    chances /= len(chosen)
    back = chances @ w1.T * (1.0 - hidden**2)
    return loss, [seen.T @ back, back.sum(0), hidden.T @ chances, chances.sum(0)]


def trained(
    layers: Layers, steps: Steps, others: Steps, count: int, rng: np.random.Generator
) -> tuple[Layers, list[float]]:
    """Adam on random batches with decay of weights; the loss on others after every STRIDE steps."""
    arrays = [part.copy() for layer in layers for part in layer]
    means = [np.zeros_like(part) for part in arrays]
    squares = [np.zeros_like(part) for part in arrays]
    losses: list[float] = []
    for step in range(1, count + 1):
        rows = rng.integers(len(steps[2]), size=BATCH)
        _, gradients = loss_of(_pairs(arrays), part_of(steps, rows))
        for number, gradient in enumerate(gradients):
            means[number] = 0.9 * means[number] + 0.1 * gradient
            squares[number] = 0.999 * squares[number] + 0.001 * gradient**2
            mean = means[number] / (1 - 0.9**step)
            square = squares[number] / (1 - 0.999**step)
            moved = mean / (np.sqrt(square) + 1e-8) + DECAY * arrays[number]
            arrays[number] = arrays[number] - RATE * moved
        if step % STRIDE == 0:
            losses.append(loss_of(_pairs(arrays), others)[0])
    return _pairs(arrays), losses


def _pairs(arrays: list[Array]) -> Layers:
    return list(zip(arrays[::2], arrays[1::2], strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
