# /// script
# dependencies = ["torch", "stable-baselines3>=2.4", "sb3-contrib>=2.4"]
# ///
"""MaskablePPO of Stable-Baselines3 with a plain MLP on macro actions.

    python examples/maskable_ppo.py [ID] [--steps 2048] [--seed 0] [--learning-rate 3e-4]

Prints the best verified speedup of the episodes as it goes. A learning rate of 0 is the baseline
that tells learning from the restarts.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

import m890_envs


class Best(BaseCallback):
    """Keeps the best speedup that any episode has reached."""

    best = 1.0

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if info["best_speedup"] > self.best:
                self.best = float(info["best_speedup"])
                print(f"{self.num_timesteps:6} steps: best {self.best:.2f}x", flush=True)
        return True


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("id", nargs="?", default="M890/VectorAddMacro-v0")
    parser.add_argument("--steps", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    options = parser.parse_args()

    def make() -> gym.Env[Any, Any]:
        return m890_envs.FlatMaskedObservation(gym.make(options.id, horizon=16, budget=None))

    torch.set_num_threads(1)  # the matrices are small
    env = make_vec_env(make, n_envs=4, seed=options.seed)
    model = MaskablePPO(
        "MlpPolicy",
        env,
        n_steps=64,
        batch_size=64,
        ent_coef=0.01,
        learning_rate=options.learning_rate,
        seed=options.seed,
        device="cpu",
    )
    told = Best()
    model.learn(options.steps, callback=told)
    print(f"best {told.best:.2f}x")


if __name__ == "__main__":
    main()
