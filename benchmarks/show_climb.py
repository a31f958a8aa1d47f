"""How often the distribution `climb` shows a maximum that leaves out one key of one block.

    python benchmarks/show_climb.py [--seeds 8]

A row shows it where the key is so far above all others up to the end of its block that exp
overflows. Prints, for each public decode case and blocks of 128 keys, the share of keys that some
row of a sequence and key head shows in one judgement: the keys that begin a block, those that end
one, and all. The fourth number: the first key, left out in every sequence and key head.
"""

from __future__ import annotations

import argparse

import numpy as np

from m890sim import get_task
from m890sim.workloads import AttentionCase

BLOCK = 128
OVERFLOW = 89.0
Array = np.ndarray


def shown(case: AttentionCase, seed: int) -> dict[int, Array]:
    """Block -> bool [pairs of sequence and key head, keys of a block]: some row shows the key."""
    inputs = case.make_inputs(seed, "climb")
    group = case.query_heads // case.key_heads
    found: dict[int, list[Array]] = {}
    for index, sequence in enumerate(case.sequences):
        slots = inputs["kv_indices"][sequence.first_cached :][: sequence.cached]
        for head in range(case.key_heads):
            q = inputs["q"][index, head * group : (head + 1) * group].astype(np.float64)
            x = inputs["scale"] * q @ inputs["k_cache"][slots, head].astype(np.float64).T
            for block in range(sequence.cached // BLOCK):
                now = x[:, block * BLOCK : (block + 1) * BLOCK]
                before = x[:, : block * BLOCK].max(axis=1, initial=-np.inf)
                second = np.maximum(np.sort(now, axis=1)[:, -2], before)
                stands = now - second[:, None] > OVERFLOW
                found.setdefault(block, []).append(stands.any(axis=0))
    return {block: np.array(rows) for block, rows in found.items()}


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    seeds = range(parser.parse_args().seeds)
    for case in get_task("decode").cases:
        single, everywhere = [], []
        for seed in seeds:
            for rows in shown(case, seed).values():
                single.append(rows)
                everywhere.append(rows.any(axis=0))
        keys = np.concatenate(single)
        first, last = keys[:, 0].mean(), keys[:, -1].mean()
        both = np.array(everywhere)[:, 0].mean()
        print(
            f"{case.name}: a block's first key {first:.1%}, its last {last:.1%}, "
            f"any {keys.mean():.1%}; its first in all sequences and heads {both:.1%}"
        )


if __name__ == "__main__":
    main()
