# /// script
# dependencies = ["torch"]
# ///
"""PPO with masks in one file, in the style of CleanRL: nothing but torch and Gymnasium.

python examples/cleanrl_ppo.py [ID] [--steps 2048] [--seed 0] [--learning-rate 3e-4]
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import m890_envs

ENVS, LENGTH = 4, 64  # environments, and steps of each between updates
GAMMA, LAMBDA, CLIP, ENTROPY, EPOCHS, BATCH = 0.99, 0.95, 0.2, 0.01, 4, 64


class Agent(nn.Module):
    """Two plain MLPs."""

    def __init__(self, size: int, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.actor = nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, actions))
        self.critic = nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 1))
        nn.init.zeros_(self.actor[-1].weight)

    def policy(self, seen: Tensor) -> Categorical:
        """What to do; the mask stands in front of the observation."""
        logits = self.actor(seen)
        return Categorical(logits=logits.masked_fill(seen[..., : self.actions] < 0.5, -1e8))

    def value(self, seen: Tensor) -> Tensor:
        """What it is worth."""
        worth: Tensor = self.critic(seen)
        return worth.squeeze(-1)


def make(name: str) -> gym.Env[Any, Any]:
    """One environment."""
    return m890_envs.FlatMaskedObservation(gym.make(name, horizon=16, budget=None))


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("id", nargs="?", default="M890/VectorAddMacro-v0")
    parser.add_argument("--steps", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the matrices are small
    torch.manual_seed(options.seed)
    envs = gym.vector.SyncVectorEnv(
        [partial(make, options.id)] * ENVS, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP
    )
    assert isinstance(envs.single_action_space, gym.spaces.Discrete)
    size = envs.single_observation_space.shape[0]  # type: ignore[index]
    agent = Agent(size, int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), lr=options.learning_rate)
    observation, _ = envs.reset(seed=options.seed)
    best = 1.0
    for update in range(max(1, options.steps // (ENVS * LENGTH))):
        seen = torch.zeros(LENGTH + 1, ENVS, size)
        actions = torch.zeros(LENGTH, ENVS, dtype=torch.long)
        rewards, ends = torch.zeros(LENGTH, ENVS), torch.zeros(LENGTH, ENVS)
        for step in range(LENGTH):
            seen[step] = torch.from_numpy(observation)
            with torch.no_grad():
                actions[step] = agent.policy(seen[step]).sample()
            observation, reward, terminated, truncated, info = envs.step(actions[step].numpy())
            rewards[step] = torch.from_numpy(np.asarray(reward))
            ends[step] = torch.from_numpy(np.logical_or(terminated, truncated))
            best = max(best, float(info["best_speedup"].max()))
            final = info.get("final_info")
            if final is not None:
                best = max(best, float(np.max(final["best_speedup"])))
        seen[LENGTH] = torch.from_numpy(observation)
        learn(agent, optimizer, seen, actions, rewards, ends)
        gained = rewards.sum() / ends.sum().clamp(min=1)
        print(f"update {update + 1}: {2**gained:.2f}x an episode, best {best:.2f}x", flush=True)
    envs.close()


def learn(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    seen: Tensor,
    actions: Tensor,
    rewards: Tensor,
    ends: Tensor,
) -> None:
    """PPO's update from a batch: seen (LENGTH + 1, ENVS, size), the others (LENGTH, ENVS)."""
    with torch.no_grad():
        values = agent.value(seen)
        before = agent.policy(seen[:-1]).log_prob(actions)
        advantages = torch.zeros_like(rewards)
        last = torch.zeros(ENVS)
        for step in reversed(range(LENGTH)):
            going = 1 - ends[step]
            error = rewards[step] + GAMMA * values[step + 1] * going - values[step]
            last = advantages[step] = error + GAMMA * LAMBDA * going * last
        returns = advantages + values[:-1]
    flat = [x.flatten(0, 1) for x in (seen[:-1], actions, before, advantages, returns)]
    for _ in range(EPOCHS):
        for part in torch.randperm(ENVS * LENGTH).split(BATCH):
            own, chosen, old, gain, worth = (x[part] for x in flat)
            policy = agent.policy(own)
            ratio = (policy.log_prob(chosen) - old).exp()
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            clipped = torch.min(ratio * gain, ratio.clamp(1 - CLIP, 1 + CLIP) * gain).mean()
            value = (agent.value(own) - worth).square().mean()
            optimizer.zero_grad()
            (0.5 * value - clipped - ENTROPY * policy.entropy().mean()).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


if __name__ == "__main__":
    main()
