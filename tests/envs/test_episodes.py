"""Episodes: rewards, ends, starts, copies."""

from __future__ import annotations

import copy
import math
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded

from m890_envs import IDS, KernelEditEnv
from m890sim.errors import TaskError
from m890sim.session import Memory
from m890sim.workloads import load_kernel
from tests.envs.walks import QUICK, choose, walk

Make = Callable[..., KernelEditEnv]


def same(left: Any, right: Any) -> bool:
    """Whether two answers of reset or step are equal, arrays included."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(np.array_equal(left, right))


@pytest.mark.parametrize("reward", ["best", "current", "final"])
def test_rewards_add_up_to_the_speedup(make: Make, reward: str) -> None:
    env = make("M890/RowSoftmax-v1", reward=reward, horizon=30)
    total = 0.0
    for _, (_, gained, _, _, info) in walk(env, 2, 30):
        total += gained + 0.01 * int(info["illegal"])
    expected = info["speedup"] if reward == "current" else info["best_speedup"]
    assert total == pytest.approx(math.log2(expected))
    assert expected != 1


def test_reward_is_the_rise_of_the_best(make: Make) -> None:
    env = make("M890/RowSoftmax-v1")
    best = 1.0
    for _, (_, gained, _, _, info) in walk(env, 4, 30):
        if not info["illegal"]:
            assert gained == pytest.approx(math.log2(info["best_speedup"] / best)) and gained >= 0
        best = info["best_speedup"]
    assert env.session.best_speedup == best


def test_stop_terminates(make: Make) -> None:
    env = make()
    env.reset()
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated) == (0, True, False)
    assert info["illegal"] == 0 and info["evaluations"] == 1
    with pytest.raises(ResetNeeded, match="the episode has ended"):
        env.step(0)
    env.reset()
    assert not env.step(1 + 3 * 64)[2]


def test_step_before_reset_is_refused() -> None:
    env = KernelEditEnv("vector_add")
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.action_masks()


def test_horizon_truncates(make: Make) -> None:
    env = make(horizon=5, budget=None)
    ends = [found[2:4] for _, found in walk(env, 0, 99)][1:]
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_budget_truncates_and_is_never_overspent(make: Make) -> None:
    env = make(horizon=None, budget=6)
    steps = list(walk(env, 0, 99))
    assert steps[-1][1][3]
    spent = [int(found[4]["evaluations"]) for _, found in steps]
    left = [int(found[4]["evaluations_left"]) for _, found in steps]
    assert spent[0] == 1 and spent[-1] == 6 and sorted(spent) == spent
    assert [a + b for a, b in zip(spent, left, strict=True)] == [6] * len(spent)


def test_known_kernel_costs_no_evaluation(make: Make) -> None:
    env = make("M890/Matmul-v1")
    _, info = env.reset()
    queue = next(e for e in env.session.legal_edits() if e.name == "set_queue")
    back = next(e for e in env.session.legal_edits() if e.name == "set_queue")
    first = env.action_of(queue)
    assert first is not None
    _, _, _, _, info = env.step(first)
    old = [e for e in env.session.legal_edits() if e.site == back.site and e.name == "set_queue"]
    assert info["evaluations"] == 2
    for edit in old:
        action = env.action_of(edit)
        assert action is not None
        clone = env.clone()
        _, _, _, _, info = clone.step(action)
        if info["cycles"].tolist() == env.session.log[0].cycles:
            assert info["evaluations"] == 2


def test_failed_kernel_keeps_the_episode_going(make: Make) -> None:
    env = make("M890/AttentionHeadMini-v1", horizon=None, budget=None)
    rng = random.Random(0)
    _, info = env.reset()
    for _ in range(300):
        observation, _, _, _, info = env.step(choose(env, info["action_mask"], rng, 0))
        if info["correct"] == 0:
            break
    assert info["correct"] == 0 and info["why"].startswith("E3")
    assert info["speedup"] == 1 and (info["cycles"] == -1).any()
    assert observation["progress"][2] == 0 and env.observation_space.contains(observation)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ("reference", "attention_reference"),
        ("textbook", "attention_textbook"),
        ("attention_2_queues", "attention_2_queues"),
        (load_kernel("attention_4_tiles"), "attention_4_tiles"),
    ],
)
def test_start_may_be_any_kernel(start: Any, name: str) -> None:
    env = KernelEditEnv("extend", ("prefill-256",), start=start, verify="never")
    _, info = env.reset()
    assert env.session.kernel.name == name
    # The return begins from the start's own speedup.
    assert info["best_speedup"] == info["speedup"]
    assert env.step(0)[1] == 0


def test_start_may_be_a_file(tmp_path: Path) -> None:
    from m890sim.workloads import KERNELS

    path = tmp_path / "mine.py"
    path.write_text(KERNELS["vector_add_reference"].text, encoding="utf-8")
    env = KernelEditEnv("vector_add", start=path)
    env.reset()
    assert env.session.kernel == load_kernel(path)


def test_task_without_a_textbook_kernel_says_so() -> None:
    with pytest.raises(TaskError, match="task matmul has no textbook kernel"):
        KernelEditEnv("matmul", start="textbook")


def test_option_start_is_for_one_episode(make: Make) -> None:
    env = make("M890/Prefill-v1", verify="never")
    _, info = env.reset(options={"start": "attention_expert"})
    assert env.session.kernel.name == "attention_expert" and info["evaluations"] == 1
    assert info["speedup"] > 2
    env.reset()
    assert env.session.kernel.name == "attention_reference"


def test_unknown_option_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="options may have 'start' alone, not 'kernel'"):
        make().reset(options={"kernel": "x"})


@pytest.mark.parametrize("name", IDS)
def test_trajectory_is_the_same_with_another_memory(make: Make, name: str) -> None:
    arguments = QUICK.get(name, {})
    first = list(walk(make(name, **arguments), 9, 6))
    second = list(walk(make(name, **arguments, memory=Memory(states=2)), 9, 6))
    assert same(tuple(first), tuple(second))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copy_goes_on_from_the_same_place(make: Make, copied: Callable[[Any], Any]) -> None:
    env = make("M890/Matmul-v1", horizon=40)
    steps = list(walk(env, 1, 10))
    other = copied(env)
    assert other.session.digest == env.session.digest and other.spec == env.spec
    rng = random.Random(4)
    for _ in range(5):
        action = choose(env, steps[-1][1][4]["action_mask"], rng, 0.5)
        assert same(env.step(action), other.step(action))


def test_clone_goes_its_own_way(make: Make) -> None:
    env = make("M890/Matmul-v1")
    *_, (_, found) = walk(env, 1, 5)
    clone = env.clone()
    action = int(np.flatnonzero(found[4]["action_mask"])[-1])
    first = clone.step(action)
    assert env.session.spent == found[4]["evaluations"]
    assert same(env.step(action), first)


def test_environment_that_was_not_reset_can_be_pickled() -> None:
    env = pickle.loads(pickle.dumps(gym.make("M890/VectorAdd-v1").unwrapped))
    assert env.reset()[1]["evaluations"] == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("stepped", [False, True])
def test_random_state_survives_copies(
    make: Make, copied: Callable[[Any], Any], stepped: bool
) -> None:
    env = make()
    if stepped:
        env.reset(seed=5)
    env.action_space.seed(3)
    env.observation_space.seed(4)
    env.np_random.random()
    other = copied(env)
    assert other.np_random_seed == env.np_random_seed

    def draws(one: KernelEditEnv) -> Any:
        chance = [one.np_random.random() for _ in range(3)]
        return chance, [int(one.action_space.sample()) for _ in range(3)]

    first, seen = draws(env), env.observation_space.sample()
    assert draws(other) == first, "the copy goes on where the original was"
    assert same(other.observation_space.sample(), seen)
    assert draws(env) != first


def test_spec_with_a_memory_can_be_written_as_json() -> None:
    env = gym.make("M890/VectorAddMacro-v0", memory=Memory(), horizon=7, disable_env_checker=True)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.horizon == 7 and again.spec.kwargs["actions"] == "macro"  # type: ignore[attr-defined,union-attr]
    assert "memory" not in env.spec.kwargs
