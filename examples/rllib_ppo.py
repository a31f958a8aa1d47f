# /// script
# dependencies = ["torch", "ray[rllib]>=2.40"]
# ///
"""PPO of RLlib (new API stack) on macro actions, with the mask inside a flat observation.

    python examples/rllib_ppo.py [ID] [--iterations 4] [--seed 0]

RLlib's default encoders take a flat Box, not a Dict; the module below takes the mask out of it.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.registry import register_env

import m890_envs


class MaskedModule(DefaultPPOTorchRLModule):
    """PPO's own module, whose logits of illegal actions are as low as can be."""

    def _masked(self, batch: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        logits = found[Columns.ACTION_DIST_INPUTS]
        mask = batch[Columns.OBS][..., : logits.shape[-1]]
        lowest = torch.finfo(logits.dtype).min
        found[Columns.ACTION_DIST_INPUTS] = logits.masked_fill(mask < 0.5, lowest)
        return found

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._masked(batch, super()._forward(batch, **kwargs))

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._masked(batch, super()._forward_train(batch, **kwargs))


def make(config: dict[str, Any]) -> gym.Env[Any, Any]:
    """The environment, one flat vector with the mask in front."""
    env = gym.make(config["id"], horizon=16, budget=None, disable_env_checker=True)
    return m890_envs.FlatMaskedObservation(env)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("id", nargs="?", default="M890/VectorAddMacro-v0")
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    register_env("m890", make)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    config = (
        PPOConfig()
        .environment("m890", env_config={"id": options.id})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .training(train_batch_size_per_learner=256, minibatch_size=64, num_epochs=4, lr=3e-4)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=MaskedModule))
        .debugging(seed=options.seed)
    )
    algorithm = config.build_algo()
    for number in range(1, options.iterations + 1):
        found = algorithm.train()["env_runners"]
        best = 2.0 ** found["episode_return_max"]
        mean = 2.0 ** found["episode_return_mean"]
        print(f"iteration {number}: best episode {best:.2f}x, mean {mean:.2f}x", flush=True)
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    main()
