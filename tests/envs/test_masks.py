"""An action is legal exactly where its edit applies, in all three masks."""

from __future__ import annotations

import random
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import FlattenObservation

from m890_envs import FlatMaskedObservation, KernelEditEnv, MaskInObservation
from m890sim.schedule import EditError
from tests.envs.walks import QUICK, walk

Make = Callable[..., KernelEditEnv]


def applies(env: KernelEditEnv, action: int) -> bool:
    """Whether the action's edit applies, found out by applying it."""
    session = env.session.clone()
    try:
        edit = env.edit_of(action)
        if edit is not None:
            before = session.kernel
            assert session.apply(edit) != before
    except EditError:
        return False
    return True


@pytest.mark.parametrize("name", ["M890/RowSoftmax-v1", "M890/AttentionHeadMini-v1"])
def test_mask_is_one_exactly_where_apply_succeeds(make: Make, name: str) -> None:
    env = make(name, verify="never")
    for count, (_, (_, _, _, _, info)) in enumerate(walk(env, 5, 24)):
        if count % 8 == 0:
            expected = [applies(env, action) for action in range(env.action_space.n)]
            assert info["action_mask"].astype(bool).tolist() == expected


@pytest.mark.parametrize("name", ["M890/Prefill-v1", "M890/Decode-v1"])
def test_mask_agrees_with_apply_on_a_sample(make: Make, name: str) -> None:
    env = make(name, **QUICK[name])
    rng = random.Random(1)
    for count, (_, (_, _, _, _, info)) in enumerate(walk(env, 6, 16)):
        if count % 8 == 0:
            mask = info["action_mask"]
            actions = [*mask.nonzero()[0].tolist(), *rng.sample(range(len(mask)), 600)]
            for action in actions:
                assert applies(env, action) == mask[action], env.edit_of(action)


def test_three_masks_agree(make: Make) -> None:
    env = make("M890/Matmul-v1")
    wrapped = MaskInObservation(env)
    observation, info = wrapped.reset()
    for _ in range(10):
        mask = info["action_mask"]
        assert np.array_equal(observation["action_mask"], mask)
        assert np.array_equal(wrapped.action_masks(), mask.astype(bool))
        assert env.action_masks().dtype == bool
        assert wrapped.observation_space.contains(observation)
        action = env.action_space.sample(mask=mask)
        observation, _, terminated, _, info = wrapped.step(action)
        if terminated:
            break


@pytest.mark.parametrize("name", ["M890/MatmulMacro-v0", "M890/VectorAdd-v1"])
def test_flat_vector_holds_mask_and_fields(make: Make, name: str) -> None:
    env = make(name)
    wrapped = FlatMaskedObservation(env)
    assert wrapped.actions == env.action_space.n
    fields = [env.observation_space[key] for key in sorted(env.observation_space.keys())]
    sizes = np.concatenate([np.maximum(abs(f.low), abs(f.high)).ravel() for f in fields])
    flat, info = wrapped.reset()
    seen = env.reset()[0]
    for _ in range(6):
        assert flat.dtype == np.float32 and wrapped.observation_space.contains(flat)
        assert flat.shape == wrapped.observation_space.shape and abs(flat).max() <= 1
        assert np.array_equal(flat[: wrapped.actions], info["action_mask"])
        assert np.array_equal(wrapped.action_masks(), info["action_mask"].astype(bool))
        raw = np.concatenate([seen[key].ravel() for key in sorted(seen)])
        assert np.allclose(flat[wrapped.actions :] * sizes, raw, rtol=1e-6)
        action = int(np.flatnonzero(info["action_mask"])[-3])
        seen = env.clone().step(action)[0]
        flat, _, _, _, info = wrapped.step(action)


def test_flat_vector_needs_bounded_fields() -> None:
    with pytest.raises(TypeError, match="the action space must be Discrete, not Box"):
        FlatMaskedObservation(gym.make("Pendulum-v1"))
    with pytest.raises(TypeError, match="must be a bounded Box, observation is Box"):
        FlatMaskedObservation(gym.make("CartPole-v1"))


def test_masks_are_reached_through_wrappers(make: Make) -> None:
    wrapped = FlattenObservation(make())
    _, info = wrapped.reset()
    masks = wrapped.get_wrapper_attr("action_masks")()
    assert masks.tolist() == info["action_mask"].astype(bool).tolist()


def test_stop_is_always_legal(make: Make) -> None:
    env = make()
    assert all(found[4]["action_mask"][0] == 1 for _, found in walk(env, 0, 20))


def test_illegal_action_changes_nothing_and_says_why(make: Make) -> None:
    env = make()
    before, info = env.reset()
    illegal = int(np.flatnonzero(info["action_mask"] == 0)[50])
    kernel = env.session.kernel
    after, reward, terminated, truncated, found = env.step(illegal)
    assert reward == -0.01 and not terminated and not truncated
    assert found["illegal"] == 1 and found["why"]
    assert env.session.kernel == kernel
    assert found["evaluations"] == info["evaluations"] == 1
    assert np.array_equal(found["action_mask"], info["action_mask"])
    assert found["steps"] == 1
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"progress"}
    assert np.flatnonzero(before["progress"] != after["progress"]).tolist() == [4]


def test_every_illegal_action_has_a_reason(make: Make) -> None:
    env = make(horizon=None, budget=None)
    _, info = env.reset()
    for action in random.Random(0).sample(np.flatnonzero(info["action_mask"] == 0).tolist(), 200):
        assert env.step(action)[4]["why"]


@pytest.mark.parametrize("action", [-1, 10**6])
def test_action_outside_the_space_is_refused(make: Make, action: int) -> None:
    env = make()
    env.reset()
    with pytest.raises(
        ValueError, match=rf"an action must lie in 0 \.\.\. {env.action_space.n - 1}"
    ):
        env.step(action)


@pytest.mark.parametrize("action", [1.0, "1", None])
def test_action_of_another_type_is_refused(make: Make, action: object) -> None:
    env = make()
    env.reset()
    with pytest.raises(TypeError, match="an action must be an integer"):
        env.step(action)


def test_actions_and_edits_translate_both_ways(make: Make) -> None:
    env = make("M890/Prefill-v1", verify="never")
    _, info = env.reset()
    legal = np.flatnonzero(info["action_mask"]).tolist()[1:]
    assert [env.action_of(env.edit_of(action)) for action in legal] == legal
    assert {env.edit_of(action) for action in legal} == set(env.session.legal_edits())
