"""A policy for kernels: which edit first, then where and with what argument.

A plain linear head over thousands of ids would have to learn each id by itself. Here every
statement is encoded from its own row of the observation, its neighbours and the kernel as a whole,
and the score of (edit, place) is a product of the edit's vector and the place's code: what is
learned at one place holds at all others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import (
    MaskableCategorical,
    MaskableCategoricalDistribution,
)
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from m890_envs.fields import PROGRAM
from m890sim.schedule.actions import ROWS

# Columns of "program" that are codes or small counts, each value of which has a vector of its own.
CODES = {
    "statement": 10,
    "operation": 64,
    "engine": 6,
    "slots": 6,
    "bank": 18,
    "queue": 6,
    "stage": 6,
    "depth": 6,
    "order": 5,
    "stall": 4,
}
# The others, with what they are divided by to lie about in 0 ... 1.
SCALES = {
    "rows": 10.0,
    "columns": 10.0,
    "dtype": 4.0,
    "trips": 8.0,
    "share": 0.25,
    "busy": 0.25,
    "idle": 0.25,
}
_COLUMN = {field.name: number for number, field in enumerate(PROGRAM)}
NAMES = tuple(dict.fromkeys(name for name, _ in ROWS))
_REFUSED = -1e8


class Encoder(BaseFeaturesExtractor):
    """Codes of all places, then one of the whole kernel: (batch, sites * width + width)."""

    def __init__(self, space: spaces.Dict, width: int = 32) -> None:
        program = space["program"]
        assert isinstance(program, spaces.Box)
        self.sites, self.width = program.shape[0], width
        super().__init__(space, self.sites * width + width)
        self.tables = nn.ModuleDict({name: nn.Embedding(n, width) for name, n in CODES.items()})
        for table in self.tables.values():
            nn.init.normal_(table.weight, std=0.3)
        self.numbers = nn.Linear(len(SCALES), width)
        self.near = nn.Conv1d(width, width, 5, padding=2)
        self.mix = nn.Linear(width, width)
        rest = sum(math.prod(space[name].shape) for name in ("profile", "progress", "tunables"))
        self.whole = nn.Linear(rest + width, width)
        self.spread = nn.Linear(width, width)
        self.register_buffer("scales", torch.tensor(list(SCALES.values())))

    def forward(self, seen: dict[str, Tensor]) -> Tensor:
        program = seen["program"]
        code = self.numbers(program[..., [_COLUMN[name] for name in SCALES]] / self.scales)
        for name, table in self.tables.items():
            number = program[..., _COLUMN[name]].long()
            code = code + table(number.clamp(max=table.num_embeddings - 1))
        code = torch.relu(code)
        near = self.near(code.transpose(1, 2)).transpose(1, 2)
        code = code + self.mix(torch.relu(near))
        real = (program[..., :1] > 0).float()
        mean = (code * real).sum(1) / real.sum(1).clamp(min=1)
        rest = [seen["profile"].flatten(1), seen["progress"], seen["tunables"] / 8]
        whole = torch.tanh(self.whole(torch.cat([mean, *rest], 1)))
        code = torch.tanh(code + self.spread(whole)[:, None])
        return torch.cat([code.flatten(1), whole], 1)


class Split(nn.Module):
    """The policy gets all of the features, the value the code of the whole kernel."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = features, width

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return features, self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return features

    def forward_critic(self, features: Tensor) -> Tensor:
        return features[:, -self.latent_dim_vf :]


class Head(nn.Module):
    """Scores of names (STOP first), then of every (row, place): (batch, 1 + names + rows * sites).

    All scores begin at 0.
    """

    def __init__(self, sites: int, width: int) -> None:
        super().__init__()
        self.sites, self.width = sites, width
        self.names = nn.Linear(width, 1 + len(NAMES))
        self.rows = nn.Linear(width, len(ROWS))
        for layer in (self.names, self.rows):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.names.bias[0], -3.0)

    def forward(self, features: Tensor) -> Tensor:
        codes = features[:, : -self.width].reshape(-1, self.sites, self.width)
        names = self.names(features[:, -self.width :])
        places = self.rows(codes).transpose(1, 2)
        return torch.cat([names, places.flatten(1)], 1)


class EditDistribution(MaskableCategoricalDistribution):
    """P(name) * P(argument and place | name), over what the mask allows.

    A tile has six ids for its bank and one for its sums: with names first, both start even.
    """

    def __init__(self, actions: int) -> None:
        super().__init__(actions)
        self.sites = (actions - 1) // len(ROWS)
        name = np.repeat([1 + NAMES.index(name) for name, _ in ROWS], self.sites)
        self.name = torch.from_numpy(np.concatenate(([0], name)))

    def proba_distribution(self, action_logits: Tensor) -> EditDistribution:
        self.scores = action_logits
        self.apply_masking(None)
        return self

    def apply_masking(self, masks: Any) -> None:
        scores, batch = self.scores, len(self.scores)
        groups = 1 + len(NAMES)
        inner = torch.cat([scores.new_zeros(batch, 1), scores[:, groups:]], 1)
        if masks is None:
            allowed = torch.ones_like(inner, dtype=torch.bool)
        else:
            allowed = torch.as_tensor(masks, dtype=torch.bool).reshape(inner.shape)
        inner = torch.where(allowed, inner, _REFUSED)
        place = self.name.expand(batch, -1)
        # Scores are within reach of exp once the largest of the batch is taken off.
        weights = torch.where(allowed, (inner - inner.detach().amax(1, keepdim=True)).exp(), 0.0)
        sums = scores.new_zeros(batch, groups).scatter_add(1, place, weights)
        names = torch.where(sums > 0, scores[:, :groups], _REFUSED).log_softmax(1)
        chosen = torch.log(weights.clamp(min=1e-30)) + (names - sums.clamp(min=1e-30).log()).gather(
            1, place
        )
        logits = torch.where(allowed, chosen, _REFUSED)
        self.distribution = MaskableCategorical(logits=logits, masks=allowed, validate_args=False)


class KernelPolicy(MaskableActorCriticPolicy):
    """MaskablePPO's policy with the parts above."""

    def __init__(self, *args: Any, width: int = 32, **settings: Any) -> None:
        self.width = width
        settings["features_extractor_class"] = Encoder
        settings["features_extractor_kwargs"] = {"width": width}
        settings["ortho_init"] = False
        super().__init__(*args, **settings)

    def _build(self, lr_schedule: Any) -> None:
        self.action_dist = EditDistribution(int(self.action_space.n))
        super()._build(lr_schedule)
        self.action_net = Head(self.features_extractor.sites, self.width)
        self.optimizer = self.optimizer_class(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = Split(self.features_dim, self.width)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        found = super()._get_constructor_parameters()
        found["width"] = self.width
        return found
