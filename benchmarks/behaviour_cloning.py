"""Behaviour cloning on a Minari dataset of runs: a policy of the steps that made a kernel faster.

    m890 bench annealing random-macro --split train --chips 8 --seeds 2 --budgets 48 --out runs
    m890 dataset runs --out datasets --id m890-runs-v0
    python benchmarks/behaviour_cloning.py datasets/m890-runs-v0 bc.npz
    m890 bench bc.npz bc-untrained.npz --split validation --chips 4 --budgets 16,48

Needs the extra `data`. Writes the policy, and beside it the same untrained; NumPy alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from m890_envs.policies import save_policy
from m890_envs.policy import Policy
from m890_envs.registration import EDITS
from m890sim.judge.evaluation import package_version

FIELDS = ("action_mask", "case", "chip", "kinds", "profile", "progress", "tensors", "tunables")
HIDDEN, STEPS, BATCH, RATE = 64, 1500, 64, 1e-3
HORIZON = 10

Array = np.ndarray[Any, Any]


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="folder of a dataset, which has data/")
    parser.add_argument("out", type=Path, help="the policy's .npz")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import minari

    data = minari.MinariDataset(args.dataset / "data")
    rng = np.random.default_rng(args.seed)
    blank = untrained(rng, args.seed, data.spec.dataset_id)
    seen, masks, chosen = examples(data, blank)
    if not len(chosen):
        sys.exit("no step of the dataset made a kernel faster")
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in blank.layers]
    before = loss_of(layers, seen, masks, chosen)[0]
    layers = trained(layers, seen, masks, chosen, rng)
    after = loss_of(layers, seen, masks, chosen)[0]
    save_policy(blank, args.out.with_name(f"{args.out.stem}-untrained.npz"))
    facts = {**blank.facts, "trained": True}
    save_policy(Policy(layers, **facts), args.out)
    print(f"{len(chosen)} improving steps of {data.total_steps}")
    print(f"cross entropy {before:.2f} untrained, {after:.2f} trained, on the same steps")


def untrained(rng: np.random.Generator, seed: int, dataset: str) -> Policy:
    """A policy with small random weights and a last layer of zeros: all legal actions alike."""
    rows: int = EDITS["action_rows"]
    shape = Policy.__dataclass_fields__["sites"].default
    from m890_envs.flat import Flattening
    from m890_envs.view import uniform_space
    from m890sim.schedule.macros import macros_of

    outputs = 1 + macros_of(rows)
    inputs = Flattening(uniform_space(shape), outputs, FIELDS).size
    first = rng.normal(0.0, inputs**-0.5, (inputs, HIDDEN))
    return Policy(
        [(first, np.zeros(HIDDEN)), (np.zeros((HIDDEN, outputs)), np.zeros(outputs))],
        name="bc",
        trained=False,
        provenance={
            "data": f"improving steps of the Minari dataset {dataset}, runs on train chips",
            "command": "benchmarks/behaviour_cloning.py",
            "seed": seed,
            "m890sim": package_version(),
        },
        fields=FIELDS,
        horizon=HORIZON,
        action_rows=rows,
    )


def examples(data: Any, policy: Policy) -> tuple[Array, Array, Array]:
    """Inputs, masks and actions of the steps with a reward above 0."""
    seen, masks, chosen = [], [], []
    for episode in data.iterate_episodes():
        for number in np.flatnonzero(episode.rewards > 0):
            mask = episode.infos["action_mask"][number]
            observation = {key: rows[number] for key, rows in episode.observations.items()}
            seen.append(np.clip(policy.reader.vector(observation, mask), -1.0, 1.0))
            masks.append(mask.astype(bool))
            chosen.append(int(episode.actions[number]))
    return np.array(seen, dtype=np.float64), np.array(masks), np.array(chosen)


def loss_of(layers: Any, seen: Array, masks: Array, chosen: Array) -> tuple[float, list[Array]]:
    """Mean masked cross entropy, and its gradients in the order of the arrays."""
    (w0, b0), (w1, b1) = layers
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


def trained(layers: Any, seen: Array, masks: Array, chosen: Array, rng: Any) -> Any:
    """Adam on random batches."""
    arrays = [part for layer in layers for part in layer]
    means = [np.zeros_like(part) for part in arrays]
    squares = [np.zeros_like(part) for part in arrays]
    for step in range(1, STEPS + 1):
        rows = rng.integers(len(chosen), size=BATCH)
        pairs = list(zip(arrays[::2], arrays[1::2], strict=True))
        _, gradients = loss_of(pairs, seen[rows], masks[rows], chosen[rows])
        for number, gradient in enumerate(gradients):
            means[number] = 0.9 * means[number] + 0.1 * gradient
            squares[number] = 0.999 * squares[number] + 0.001 * gradient**2
            mean = means[number] / (1 - 0.9**step)
            square = squares[number] / (1 - 0.999**step)
            arrays[number] = arrays[number] - RATE * mean / (np.sqrt(square) + 1e-8)
    return list(zip(arrays[::2], arrays[1::2], strict=True))


if __name__ == "__main__":
    main()
