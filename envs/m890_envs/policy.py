"""Policy: a small network that chooses macro actions from the uniform observation."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from m890_envs.env import MOST_SITES, SITES
from m890_envs.exact import ACTIVATIONS, MOST_WEIGHT, Layer, chances, check_layers, on_grid, scores
from m890_envs.flat import MASK, Flattening, Vector
from m890_envs.view import uniform_space
from m890sim.agents import Dice
from m890sim.digests import digest_of
from m890sim.errors import M890Error
from m890sim.messages import check_flag, described
from m890sim.schedule.actions import ROWS
from m890sim.schedule.macros import macros_of
from m890sim.session.arguments import choice_of, integer_of

MOST_LAYERS = 6
MOST_WIDTH = 4096  # of a hidden layer
MOST_WEIGHTS = 8_000_000  # of all layers
MOST_HORIZON = 4096
MOST_NOTES, MOST_NOTE = 64, 2000  # entries of the provenance, characters of one
FLAT = (MASK, *sorted(uniform_space(1).spaces))  # all fields, as FlatMaskedObservation has them
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)

Note = str | int | float | bool | None


class PolicyError(M890Error):
    """A saved policy that cannot be written, read or played here."""


@dataclass(frozen=True, eq=False)
class Policy:
    """Layers from a flat observation to a score for every macro action, STOP first.

    layers: (weights (inputs, outputs), biases (outputs,)), first to last; they are kept as float32
    on the grid of `exact`. activation: "tanh" or "relu", between layers. name: of the method, such
    as "ppo". trained: False for weights as they were before training. provenance: command, seed,
    versions: what one needs to get it again; "data": what it was trained on, in words. fields: of
    the uniform observation that it reads, in this order ("action_mask" for the mask, all where
    FLAT; none: it sees nothing). sites and action_rows: as of the KernelEditEnv that it was trained
    in; horizon: steps of an episode.
    Raises: TypeError, ValueError for what is no policy.
    """

    layers: Sequence[Layer]
    activation: str = "tanh"
    name: str = "policy"
    trained: bool = True
    provenance: Mapping[str, Note] = field(default_factory=dict)
    fields: Sequence[str] = FLAT
    horizon: int = 10
    sites: int = SITES["uniform"]
    action_rows: int = len(ROWS)

    def __post_init__(self) -> None:
        choice_of("activation", self.activation, tuple(ACTIVATIONS))
        if not isinstance(self.name, str) or len(self.name) > 40 or not _NAME.fullmatch(self.name):
            raise ValueError(
                "name must be lowercase letters and digits with single hyphens between, at most "
                f"40 characters, not {described(self.name)}"
            )
        check_flag("trained", self.trained)
        integer_of("horizon", self.horizon, 1, MOST_HORIZON)
        integer_of("sites", self.sites, 1, MOST_SITES)
        integer_of("action_rows", self.action_rows, 1, len(ROWS))
        object.__setattr__(self, "provenance", _notes(self.provenance))
        object.__setattr__(self, "fields", self.reader.fields)
        object.__setattr__(self, "layers", _layers(self.layers))
        inputs, outputs = len(self.layers[0][0]), len(self.layers[-1][1])
        if inputs != self.reader.size:
            raise ValueError(
                f"the first layer takes {inputs} numbers, the fields {', '.join(self.fields)} have "
                f"{self.reader.size}"
            )
        if outputs != self.actions:
            raise ValueError(
                f"the last layer gives {outputs} scores, there are {self.actions} actions with "
                f"action_rows={self.action_rows}"
            )
        check_layers(self.layers, self.activation)

    @property
    def actions(self) -> int:
        """How many actions it scores."""
        return 1 + macros_of(self.action_rows)

    @cached_property
    def reader(self) -> Flattening:
        """What makes its inputs of an observation."""
        return Flattening(uniform_space(self.sites), self.actions, self.fields)

    @property
    def facts(self) -> dict[str, Any]:
        """All but the weights, as plain data."""
        return {
            "activation": self.activation,
            "name": self.name,
            "trained": self.trained,
            "provenance": dict(self.provenance),
            "fields": list(self.fields),
            "horizon": self.horizon,
            "sites": self.sites,
            "action_rows": self.action_rows,
        }

    @cached_property
    def id(self) -> str:
        """16 hex digits that follow from everything that it holds."""
        digest = hashlib.sha256(digest_of(self.facts).encode("ascii"))
        for array in (part for layer in self.layers for part in layer):
            digest.update(repr(array.shape).encode("ascii") + array.tobytes())
        return digest.hexdigest()[:16]

    def scores(self, flat: Vector) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The score of every action for a flat observation; the same bits on every machine."""
        return scores(on_grid(np.clip(flat, -1.0, 1.0)), self._wide, self.activation)

    def choose(self, flat: Vector, mask: np.ndarray[Any, Any], dice: Dice) -> int:
        """An action that the mask allows, drawn by the softmax of the scores.

        Raises: ValueError where nothing is allowed.
        """
        allowed = np.flatnonzero(mask)
        if not len(allowed):
            raise ValueError("the mask allows no action")
        return dice.weighted(allowed.tolist(), chances(self.scores(flat)[allowed]))

    @cached_property
    def _wide(self) -> tuple[Layer, ...]:
        """The layers as float64."""
        return tuple((w.astype(np.float64), b.astype(np.float64)) for w, b in self.layers)


def _layers(given: Any) -> tuple[Layer, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise TypeError(f"layers must be pairs of weights and biases, not {described(given)}")
    if not 1 <= len(given) <= MOST_LAYERS:
        raise ValueError(f"there must be 1 to {MOST_LAYERS} layers, not {len(given)}")
    found: list[Layer] = []
    for number, layer in enumerate(given):
        if not isinstance(layer, Sequence) or len(layer) != 2:
            raise TypeError(f"layer {number} must be weights and biases, not {described(layer)}")
        weights, biases = (_array(part, number) for part in layer)
        if weights.ndim != 2 or biases.ndim != 1 or weights.shape[1] != len(biases):
            raise ValueError(
                f"layer {number} must have weights (inputs, outputs) and biases (outputs,), not "
                f"{weights.shape} and {biases.shape}"
            )
        if found and len(found[-1][1]) != len(weights):
            raise ValueError(
                f"layer {number} takes {len(weights)} numbers, the one before gives "
                f"{len(found[-1][1])}"
            )
        if number + 1 < len(given) and not 1 <= len(biases) <= MOST_WIDTH:
            raise ValueError(
                f"a hidden layer gives 1 to {MOST_WIDTH} numbers, layer {number}: {len(biases)}"
            )
        found.append((weights, biases))
    size = sum(weights.size for weights, _ in found)
    if size > MOST_WEIGHTS:
        raise ValueError(f"a policy has at most {MOST_WEIGHTS:,} weights, not {size:,}")
    return tuple(found)


def _array(given: Any, number: int) -> np.ndarray[Any, Any]:
    """float32 on the grid, that nobody can change."""
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "fiu":
        raise TypeError(f"layer {number} must be arrays of numbers, not {described(given)}")
    if given.size and not np.abs(given).max() <= MOST_WEIGHT:  # NaN too
        raise ValueError(f"weights and biases lie within +-{MOST_WEIGHT:g}, not all of {number}")
    found = np.ascontiguousarray(on_grid(given), dtype=np.float32)
    found += np.float32(0.0)  # -0.0 has other bytes
    found.flags.writeable = False
    return found


def _notes(given: Any) -> dict[str, Note]:
    if not isinstance(given, Mapping):
        raise TypeError(f"provenance must be a dict, not {described(given)}")
    if len(given) > MOST_NOTES:
        raise ValueError(f"provenance has at most {MOST_NOTES} entries, not {len(given)}")
    for key, value in given.items():
        if type(key) is not str or type(value) not in (str, int, float, bool, type(None)):
            raise TypeError(
                "provenance must be texts and plain values by name, not "
                f"{described(key)}: {described(value)}"
            )
        if len(key) > MOST_NOTE or (isinstance(value, str) and len(value) > MOST_NOTE):
            raise ValueError(f"a text of the provenance has at most {MOST_NOTE} characters")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"provenance must have finite numbers, not {described(value)}")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"provenance has integers below 2**63, not {described(value)}")
    return dict(given)
