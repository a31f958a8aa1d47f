# /// script
# dependencies = ["torch", "torchrl>=0.14", "tensordict"]
# ///
"""PPO of TorchRL on macro actions, with a categorical that knows the mask.

python examples/torchrl_ppo.py [ID] [--frames 2048] [--seed 0]
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.envs.libs.gym import GymWrapper
from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import m890_envs

FRAMES = 256  # of a batch


class Policy(nn.Module):
    """A plain MLP: the flat vector to logits and to the mask that stands in front of it."""

    def __init__(self, size: int, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.layers = nn.Sequential(
            nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, actions)
        )

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(seen), seen[..., : self.actions] > 0.5


class Best(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the best speedup that any episode has reached."""

    best = 1.0

    def step(self, action: Any) -> Any:
        found = self.env.step(action)
        self.best = max(self.best, float(found[4]["best_speedup"]))
        return found


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("id", nargs="?", default="M890/VectorAddMacro-v0")
    parser.add_argument("--frames", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the matrices are small
    torch.manual_seed(options.seed)
    told = Best(gym.make(options.id, horizon=16, budget=None))
    flat = m890_envs.FlatMaskedObservation(told)
    assert flat.observation_space.shape is not None
    env = GymWrapper(flat, categorical_action_encoding=True)
    size = flat.observation_space.shape[0]
    actor = ProbabilisticActor(
        TensorDictModule(Policy(size, flat.actions), ["observation"], ["logits", "mask"]),
        in_keys=["logits", "mask"],
        out_keys=["action"],
        distribution_class=MaskedCategorical,
        return_log_prob=True,
    )
    value = ValueOperator(nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 1)))
    advantage = GAE(gamma=0.99, lmbda=0.95, value_network=value)
    loss = ClipPPOLoss(actor, value, entropy_coeff=0.01)
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-4)
    frames = max(FRAMES, options.frames)
    collector = Collector(
        env,
        actor,
        frames_per_batch=FRAMES,
        total_frames=frames,
        auto_register_policy_transforms=False,
    )
    for number, batch in enumerate(collector, 1):
        for _ in range(4):
            advantage(batch)
            for part in torch.randperm(FRAMES).split(64):
                step(loss, optimizer, batch[part])
        gained = batch["next", "reward"].sum().item() / batch["next", "done"].sum().item()
        print(f"batch {number}: {2**gained:.2f}x an episode, best {told.best:.2f}x", flush=True)
    collector.shutdown()


def step(loss: ClipPPOLoss, optimizer: torch.optim.Optimizer, part: TensorDictBase) -> None:
    """One step of the optimizer."""
    found = loss(part)
    total = found["loss_objective"] + found["loss_critic"] + found["loss_entropy"]
    optimizer.zero_grad()
    total.backward()
    optimizer.step()


if __name__ == "__main__":
    main()
