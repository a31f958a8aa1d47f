"""Behaviour cloning: its gradients, what it learns from steps, its refusals; NumPy alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import behaviour_cloning as cloning
from m890_envs.policies import load_policy, packaged_policies
from m890_envs.view import uniform_space
from m890sim.bench.entrants import entrant
from m890sim.errors import M890Error

ACTIONS = 476


def episodes(chips: int, reward: float = 1.0) -> Any:
    """A dataset of one step a chip: where profile[0, 0] is 1, action 7, else action 9."""
    spaces = uniform_space(192).spaces
    made = []
    for number in range(4 * chips):
        observation = {
            key: np.zeros((2, *space.shape), np.float32) for key, space in spaces.items()
        }
        observation["chip"][:, 0] = number % chips / 64
        observation["profile"][0] = spaces["profile"].high * (number // chips % 2)
        mask = np.zeros((2, ACTIONS), np.int8)
        mask[:, [0, 7, 9, 11]] = 1
        made.append(
            SimpleNamespace(
                observations=observation,
                infos={"action_mask": mask},
                actions=np.array([9 - 2 * (number // chips % 2)]),
                rewards=np.array([reward]),
            )
        )
    spec = SimpleNamespace(dataset_id="made-v0")
    return SimpleNamespace(iterate_episodes=lambda: iter(made), spec=spec, total_steps=len(made))


def test_gradients_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(3)
    layers = [(rng.normal(size=(5, 4)), rng.normal(size=4))]
    layers.append((rng.normal(size=(4, 6)), rng.normal(size=6)))
    masks = rng.random((8, 6)) < 0.6
    chosen = rng.integers(6, size=8)
    masks[np.arange(8), chosen] = True
    steps = (rng.normal(size=(8, 5)), masks, chosen, np.zeros(8, dtype=int))
    _, gradients = cloning.loss_of(layers, steps)
    arrays = [part for layer in layers for part in layer]
    for array, gradient in zip(arrays, gradients, strict=True):
        for place in np.ndindex(array.shape):
            kept, around = array[place], []
            for change in (1e-5, -1e-5):
                array[place] = kept + change
                around.append(cloning.loss_of(layers, steps)[0])
            array[place] = kept
            assert gradient[place] == pytest.approx((around[0] - around[1]) / 2e-5, abs=1e-6)


def test_it_learns_what_the_steps_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cloning, "STEPS", 100)
    data = episodes(4)
    cloning.learn(data, tmp_path, 0, "this one")
    assert "16 improving steps of 16, on 4 chips" in capsys.readouterr().out
    policy, blank = (load_policy(tmp_path / f"{name}.npz") for name in ("bc", "bc-untrained"))
    seen, masks, chosen, chips = cloning.examples(data, policy.reader)
    assert sorted(set(chips)) == [*range(4)]
    allowed = np.flatnonzero(masks[0])
    for row, action in zip(seen, chosen, strict=True):
        assert allowed[np.argmax(policy.scores(row)[allowed])] == action
        assert not np.ptp(blank.scores(row)[allowed])
    assert policy.trained and not blank.trained
    assert policy.provenance["command"] == "this one"
    assert entrant(str(tmp_path / "bc.npz")).trained == (
        "improving steps of the Minari dataset made-v0"
    )


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(M890Error, match="no step of the dataset made a kernel faster"):
        cloning.learn(episodes(8, 0.0), tmp_path, 0, "")
    with pytest.raises(M890Error, match="are of 3 chips; give runs on at least 4, of which one"):
        cloning.learn(episodes(3), tmp_path, 0, "")
    assert not list(tmp_path.iterdir())


def test_cloned_policies_are_among_the_baselines() -> None:
    found = {Path(file).stem: entrant(file) for file in packaged_policies()}
    assert "split train" in found["bc"].trained
    assert found["bc"].name == "bc"
    assert found["bc-untrained"].trained == ""
    assert found["bc-untrained"].name == "bc-untrained"
    sizes = [Path(file).stat().st_size for file in packaged_policies() if "bc" in Path(file).stem]
    assert len(sizes) == 2 and max(sizes) < 200_000
