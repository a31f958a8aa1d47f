"""M890/KernelSource-v0: texts as actions, the report, rewards, ends, copies, vectors."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

import m890sim
from m890_envs import SOURCE, KernelSourceEnv
from m890_envs.fields import METRICS, MOST_CASES, SOURCE_INFO
from m890_envs.writing import (
    CHARACTERS,
    DIVIDER,
    KERNEL_MARK,
    REPLACE,
    SEARCH,
    ActionError,
    call_of,
)
from m890sim.kernel import print_kernel
from m890sim.protocol import TOOLS
from m890sim.workloads import load_kernel
from tests.envs.test_episodes import same

FILES = sorted(Path(m890sim.__file__).parent.glob("workloads/kernels/*_*.py"))
GOLDEN = Path(__file__).parent / "golden"
TASK, CASE = "vector_add", "add-600x96"
SMALL: dict[str, Any] = {
    "task": TASK,
    "cases": CASE,
    "chips": "m890",
    "budget": 8,
    "horizon": 12,
    "source": 4000,
    "report": 6000,
}


def env_of(**arguments: Any) -> KernelSourceEnv:
    found = gym.make(SOURCE, **{**SMALL, **arguments}).unwrapped
    assert isinstance(found, KernelSourceEnv)
    return found


def block(old: str, new: str) -> str:
    return f"{SEARCH}\n{old}\n{DIVIDER}\n{new}\n{REPLACE}\n"


FASTER = block("BR: Tunable = 16", "BR: Tunable = 64")
WRONG = block("add(a[:rows], a[:rows], b[:rows])", "add(a[:rows], a[:rows], a[:rows])")
TOO_LARGE = block("BR: Tunable = 16", "BR: Tunable = 64000")
BACK = block("a[:rows], a[:rows], a[:rows]", "a[:rows], a[:rows], b[:rows]")
PLAY = (
    "status",
    FASTER,
    "What a fast kernel!",
    WRONG,
    BACK,
    '{"tool": "test", "arguments": {"replace": [{"old": "= 64", "new": "= 128"}], "base": 1}}',
    TOO_LARGE,
    '{"tool": "diff", "arguments": {"new": 2}}',
    "submit",
)


def test_environment_passes_gymnasiums_checker() -> None:
    check_env(env_of())


def test_trajectory_is_golden(golden: Callable[[Path, str], None]) -> None:
    env = env_of()
    observation, info = env.reset(seed=1)
    lines, reward = [], 0.0
    for action in ("", *PLAY):
        if action:
            observation, reward, _, _, info = env.step(action)
        texts = {
            name: hashlib.sha256(observation[name].encode()).hexdigest()[:16]
            for name in ("report", "source")
        }
        numbers = {"reward": round(reward, 3), "metrics": observation["metrics"][:8].tolist()}
        lines.append(json.dumps({"cycles": int(info["cycles"][0]), **numbers, **texts}))
    golden(GOLDEN / "KernelSource-v0.jsonl", "\n".join(lines) + "\n")


def test_observations_and_info_are_what_they_say() -> None:
    env = env_of()
    found = [env.reset(seed=0), *((step[0], step[4]) for step in map(env.step, PLAY))]
    for observation, info in found:
        assert env.observation_space.contains(observation)
        assert [key.name for key in SOURCE_INFO] == list(info)
        for key in SOURCE_INFO:
            value = info[key.name]
            if key.dtype == "tuple of str":
                assert all(type(name) is str for name in value)
            elif key.dtype == "str":
                assert type(value) is str
            else:
                assert value.dtype == key.dtype
                assert value.shape == (() if key.shape == "()" else (MOST_CASES,))
        assert json.loads(info["answer"])["text"].startswith(observation["report"][:50])
    names = [column.name for column in METRICS]
    last = dict(zip(names, found[-1][0]["metrics"].tolist(), strict=True))
    assert last["best"] == pytest.approx(math.log2(found[-1][1]["best_speedup"]), abs=1e-3)
    assert last["cases"] == 1 and last["evaluations_left"] == pytest.approx(4 / 8)
    assert last["calls_left"] == pytest.approx(3 / 12) and last["taken"] == 1


def test_a_wrong_kernel_costs_an_evaluation_and_no_penalty() -> None:
    env = env_of()
    env.reset(seed=0)
    observation, reward, _, _, info = env.step(WRONG)
    assert reward == 0 and info["illegal"] == 0 and info["correct"] == 0
    assert info["evaluations"] == 2 and info["speedup"] == 1.0 and "WRONG" in observation["report"]
    assert info["why"] and info["chosen"] == 0


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (3, "an action must be a text, not 3"),
        (None, "an action must be a text, not None"),
        (b"submit", "an action must be a text"),
        ("", "the action is empty"),
        (" \n", "the action is empty"),
        ("x" * 4001, "the action has 4,001 characters, at most 4,000 are taken"),
        ("# é", "line 1 of the action has the character '\\xe9'"),
        ("a\n\x1b[2J", "line 2 of the action has the character '\\x1b'"),
        ("I think that larger tiles help.", "the action is no kernel, as it has no @kernel"),
        ("```\na\n```\n```\nb\n```", "the action has 4 lines that begin with ```"),
        ("```\n@kernel", "the action has 1 lines that begin with ```"),
        (f"{SEARCH}\na\n{REPLACE}", f"line 3: the block has no {DIVIDER}"),
        (f"{SEARCH}\na\n{SEARCH}", f"line 3: {SEARCH} within a block"),
        (f"{REPLACE}\n{SEARCH}\n", f"line 1: {REPLACE} without {SEARCH}"),
        (f"{SEARCH}\na\n{DIVIDER}\nb", f"the last block does not end; end it with {REPLACE}"),
        (block("nothing like this", ""), "`old` stands there 0 times"),
        (block("", "more"), "`old` is empty"),
        ("{", "the action begins as a call and is not JSON"),
        ('{"tool": "test", "evaluation": 3}', "a call must have tool and arguments alone"),
        ('{"arguments": {}}', "a call must have tool and arguments alone"),
        ('{"tool": "profile"}', "there is no tool 'profile'"),
        ('{"tool": 3}', "there is no tool '3'"),
        ('{"tool": "test", "arguments": 3}', "the arguments must be one JSON object, not 3"),
        ('{"tool": "diff", "arguments": {"old": 9}}', "there is no evaluation 9"),
        ("@kernel\ndef f(:", "Refused, nothing was spent"),
        (TOO_LARGE, "tile xt does not fit"),
    ],
)
def test_what_is_no_action_is_a_report_and_a_penalty(action: Any, message: str) -> None:
    env = env_of(penalty=0.25)
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(action)
    assert message in observation["report"] and message in info["why"]
    assert (reward, terminated, truncated) == (-0.25, False, False)
    assert info["illegal"] == 1 and info["evaluations"] == 1 and info["steps"] == 1
    assert env.observation_space.contains(observation)
    assert observation["metrics"][5] == 0


_LINE = st.text(CHARACTERS.replace("\n", ""), max_size=30).filter(
    lambda line: line.rstrip() not in (SEARCH, DIVIDER, REPLACE)
)
_PART = st.lists(_LINE, min_size=1, max_size=4).map("\n".join)


@settings(max_examples=40)
@given(st.lists(st.tuples(_PART, _PART), min_size=1, max_size=3), _PART)
def test_blocks_are_read_as_they_were_written(parts: list[tuple[str, str]], around: str) -> None:
    text = around + "\n" + "\n".join(block(*part) + around for part in parts)
    tool, arguments = call_of(text, TOOLS, 10_000)
    assert tool == "test"
    assert arguments == {"replace": [{"old": old, "new": new} for old, new in parts]}


@settings(max_examples=200)
@given(st.text(max_size=200) | st.text(CHARACTERS + "é", max_size=200) | st.binary(max_size=9))
def test_any_text_is_a_call_or_refused(text: Any) -> None:
    try:
        tool, arguments = call_of(text, TOOLS, 150)
    except ActionError as error:
        assert str(error)
    else:
        assert isinstance(tool, str) or text.lstrip().startswith("{")
        assert isinstance(arguments, dict) or "arguments" in text


@pytest.mark.parametrize("name", ["vector_add_reference", "attention_reference"])
def test_a_whole_kernel_may_stand_alone_or_in_a_fence(name: str) -> None:
    text = print_kernel(load_kernel(name))
    assert call_of(text, TOOLS, 20_000) == ("test", {"source": text})
    answer = f"Here it is:\n```python\n{text}```\nIt is fast."
    assert call_of(answer, TOOLS, 20_000) == ("test", {"source": text})
    windows = answer.replace("\n", "\r\n")
    assert call_of(windows, TOOLS, 20_000) == ("test", {"source": text})


def test_every_built_in_kernel_is_an_action() -> None:
    space = gym.make(SOURCE).action_space
    assert len(FILES) > 30
    for file in FILES:
        text = file.read_text("utf-8")
        assert space.contains(text) and KERNEL_MARK in text
    for _ in range(3):
        assert space.contains(space.sample())


@pytest.mark.parametrize("reward", ["best", "current", "final"])
def test_rewards_add_up_to_the_speedup(reward: str) -> None:
    env = env_of(reward=reward)
    env.reset(seed=0)
    steps = [env.step(action) for action in PLAY]
    total = math.fsum(step[1] + 0.01 * int(step[4]["illegal"]) for step in steps)
    info = steps[-1][4]
    expected = info["speedup"] if reward == "current" else info["best_speedup"]
    assert total == pytest.approx(math.log2(expected)) and expected > 1
    if reward == "final":
        assert all(step[1] <= 0 for step in steps[:-1])


def test_submit_terminates_and_the_submitted_kernel_is_judged() -> None:
    env = env_of()
    env.reset(seed=0)
    env.step(FASTER)
    with pytest.raises(ResetNeeded, match="the episode goes on"):
        env.judge()
    seen, _, terminated, truncated, info = env.step(
        '{"tool":"submit","arguments":{"evaluation":0}}'
    )
    assert terminated and not truncated and info["chosen"] == 0 and info["ended"] == "submitted"
    found = env.judge(hidden=2, seed=3)
    assert found is not None and found.speedup == 1.0 and found.hidden is not None
    assert found.hidden.cases >= 2
    assert seen["source"] == env.session.last_source  # no word of the judgement anywhere
    with pytest.raises(ResetNeeded, match="the episode has ended"):
        env.step("status")


@pytest.mark.parametrize(
    ("arguments", "actions", "reason"),
    [
        ({"budget": 2}, [FASTER], "its 2 evaluations are spent"),
        ({"horizon": 2}, ["status", "nonsense"], "its 2 calls are spent"),
        ({"patience": 1}, [WRONG], "1 evaluations brought no gain of more than 1%"),
    ],
)
def test_budgets_truncate(arguments: dict[str, Any], actions: list[str], reason: str) -> None:
    env = env_of(**arguments)
    env.reset(seed=0)
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
    assert truncated and not terminated and info["ended"] == reason
    assert reason in observation["report"]


def test_every_episode_has_a_chip_of_its_own_and_options_give_it_again() -> None:
    env = env_of(chips=("balanced", "small"))
    firsts = [env.reset(seed=4), *(env.reset() for _ in range(3))]
    chips = [info["chip"] for _, info in firsts]
    assert len(set(chips)) == 4 and all(":train:" in chip for chip in chips)
    assert [int(info["number"]) for _, info in firsts] == [0, 1, 2, 3]
    again = env_of(chips=("balanced", "small"))
    assert same(again.reset(seed=4), firsts[0])
    seen, info = env.reset(options={key: firsts[2][1][key] for key in ("task", "chip", "cases")})
    assert same(seen, firsts[2][0]) and info["chip_digest"] == firsts[2][1]["chip_digest"]
    assert not any(chip in seen["report"] for chip in chips)


def test_options_take_level_task_and_start() -> None:
    env = env_of()
    seen, info = env.reset(seed=0, options={"docs": "full", "task": "matmul"})
    assert info["docs"] == "full" and info["task"] == "matmul" and len(info["cases"]) > 1
    assert "profile" in env.session.tools and "matmul" in seen["report"]
    page = env.step('{"tool": "read_docs", "arguments": {"page": "chip"}}')[0]["report"]
    assert len(page) == SMALL["report"] and "... cut, " in page[-50:]
    seen, info = env.reset(options={"start": "vector_add_expert"})
    assert info["docs"] == "none" and info["best_speedup"] > 1
    assert "def vector_add_expert" in seen["source"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"docs": "all"}, "docs must be one of none, language, full, not 'all'"),
        ({"budget": 1}, "budget must be at least 2, not 1"),
        ({"horizon": 0}, "horizon must be at least 1, not 0"),
        ({"report": 10}, "report must be at least 1000, not 10"),
        ({"reward": "big"}, "reward must be one of best, current, final, not 'big'"),
        ({"render_mode": "human"}, "render_mode must be one of ansi, not 'human'"),
        ({"source": 200_000, "horizon": 1000}, "allow fewer calls or shorter sources"),
        ({"penalty": -1}, "penalty must lie in 0"),
        ({"split": "all"}, "split must be one of"),
    ],
)
def test_impossible_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KernelSourceEnv(**{**SMALL, **arguments})


def test_impossible_option_is_refused() -> None:
    env = env_of()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step("status")
    with pytest.raises(ResetNeeded, match="call reset"):
        _ = env.episode
    with pytest.raises(ValueError, match="options may have 'task', 'chip', 'cases', 'docs'"):
        env.reset(options={"level": "full"})
    with pytest.raises(ValueError, match="docs must be one of none, language, full"):
        env.reset(options={"docs": "much"})


@pytest.mark.parametrize("way", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_by_itself(way: Callable[[KernelSourceEnv], KernelSourceEnv]) -> None:
    env = env_of()
    assert not way(env)._running
    env.reset(seed=2)
    env.action_space.seed(5)
    for action in PLAY[:4]:
        env.step(action)
    other = way(env)
    assert other.action_space.sample() == env.action_space.sample()
    for action in PLAY[4:]:
        assert same(env.step(action), other.step(action))
    assert same(env.reset(), other.reset())


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_sync_and_async_give_the_same_trajectories(mode: AutoresetMode) -> None:
    found = []
    for kind in ("sync", "async"):
        settings_ = {"vector_kwargs": {"autoreset_mode": mode}, **SMALL, "horizon": 3}
        env = gym.make_vec(SOURCE, 2, vectorization_mode=kind, **settings_)
        first = env.reset(seed=5)
        steps = [env.step(actions) for actions in itertools.pairwise(PLAY)]
        env.close()
        found.append([first, *steps])
    for a, b in zip(*found, strict=True):
        assert a[0]["report"] == b[0]["report"] and a[0]["source"] == b[0]["source"]
        assert np.array_equal(a[0]["metrics"], b[0]["metrics"])
        if len(a) > 2:
            assert same(tuple(a[1:4]), tuple(b[1:4]))
            assert list(a[4]["why"]) == list(b[4]["why"])


def test_rendering_shows_report_and_text() -> None:
    env = env_of(render_mode="ansi")
    env.reset(seed=0)
    env.step(FASTER)
    text = env.render()
    assert "vector_add on m890: best" in text and "Evaluation 1: right" in text
    assert any(line.endswith("BR: Tunable = 64") for line in text.splitlines()) or "= 64" in text
