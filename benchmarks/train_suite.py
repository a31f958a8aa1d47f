"""Train MaskablePPO on drawn tasks and chips of split `train`, and save what it learned.

    python benchmarks/train_suite.py [--seeds 3] [--steps 16000] [--out envs/m890_envs/trained]

For each seed: `ppo-SEED.npz`, the trained policy, and `ppo-SEED-untrained.npz`, the weights that
the seed begins with, as a learning rate of 0 leaves them. With --blind also `blind-SEED.npz`, which
is trained alike and sees nothing but which actions are legal: one number for each action, whatever
the kernel and the chip. Policies that are there are not trained again. The mean returns of the
episodes while they are trained go to the CSV file. Needs the extra `m890sim[train]`; the files are
read without it (`m890_envs.policies`).
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent))

from learning.curves import Curve, append_curve
from learning.extra import missing_extra

ROOT = Path(__file__).resolve().parents[1]


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=16_000, help="of each policy")
    parser.add_argument("--blind", action="store_true", help="train those that see nothing, too")
    parser.add_argument("--out", type=Path, default=ROOT / "envs" / "m890_envs" / "trained")
    parser.add_argument("--csv", type=Path, default=ROOT / "docs" / "suite_training.csv")
    options = parser.parse_args()
    if min(options.seeds, options.steps) < 1 or options.first_seed < 0:
        parser.error("--seeds and --steps must be at least 1, --first-seed at least 0")
    return options


def main() -> int:
    """Train what is missing."""
    options = parse_options()
    console = Console(highlight=False)
    if message := missing_extra():
        console.print(f"train_suite: {message}", markup=False, soft_wrap=True)
        return 2
    from learning.suite_ppo import train

    options.out.mkdir(parents=True, exist_ok=True)
    kinds = ("ppo", "blind") if options.blind else ("ppo",)
    for kind in kinds:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            path = options.out / f"{kind}-{seed}.npz"
            if path.exists():
                console.print(f"{path.name} is there")
                continue
            begin = time.process_time()

            def told(steps: int, mean: float, name: str = path.stem) -> None:
                console.print(f"{name}: {steps:6} steps, mean return {mean:.3f}")

            command = shlex.join(["python", "benchmarks/train_suite.py", *sys.argv[1:]])
            means = train(
                f"{kind}-{seed}", seed, options.steps, kind == "blind", command, path, told
            )
            seconds = time.process_time() - begin
            for steps, mean in means:
                append_curve(options.csv, Curve(path.stem, seed, steps, round(mean, 4)))
            console.print(f"{path.name}: {options.steps} steps in {seconds:.0f} s of one core")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
