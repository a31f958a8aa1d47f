"""SkyRL-gym makes the environment from its registry and plays it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.programs import program, ran
from tests.protocol.players import FASTER, WRONG

pytestmark = pytest.mark.adapters
skyrl_gym = pytest.importorskip("skyrl_gym", reason="the extra skyrl is not installed")

CONFIG = {"task": "row_softmax", "chips": ["m890"], "hidden": 2}


def blocks(replacements: list[dict[str, str]]) -> str:
    """The same as search/replace blocks."""
    return "".join(
        "\n".join(("<<<<<<< SEARCH", old.rstrip(), "=======", new.rstrip(), ">>>>>>> REPLACE", ""))
        for old, new in (each.values() for each in replacements)
    )


def made(config: Any = None, **row: Any) -> tuple[Any, str]:
    """An environment after init, and its first message."""
    from m890_envs.adapters.skyrl_env import NAME, rows

    (found,) = rows(1, 5, **row)
    env = skyrl_gym.make(NAME, env_config=CONFIG if config is None else config, extras=found)
    messages, _ = env.init(found["prompt"])
    assert [message["role"] for message in messages] == ["user"]
    assert messages[0]["content"].startswith(found["prompt"][0]["content"])
    return env, messages[0]["content"]


def tagged(name: str, within: str = "") -> str:
    """A call as SkyRL-gym's own environments with several tools take it."""
    return f"<think>So — {name}?</think>I call <tool>\n<{name}>{within}</{name}>\n</tool>."


def test_a_session_is_played() -> None:
    from skyrl_gym.metrics import aggregate_for_environment

    env, first = made()
    assert "<tool><submit></submit></tool>" in first and "Public cases:" in first
    steps = [
        ("I think.", "the action is no kernel"),
        (tagged("read_reference"), "@kernel"),
        (tagged("check", blocks(FASTER)), "Well formed"),
        (tagged("test", blocks(WRONG).rstrip()), "WRONG"),
        (tagged("test", "{1"), "not JSON"),
        (tagged("test", '{"base": 0, "replace": []}'), "must be a list"),
        (tagged("read_reference", '{"evaluation": 9}'), "there is no evaluation 9"),
        (f"So, without tags:\n{blocks(FASTER)}", "stands there 0 times"),
        (tagged("check", "@kernel\ndef f("), "line 2, column 6: E102"),
    ]
    for action, told in steps:
        output = env.step(action)
        assert told in output["observations"][0]["content"], action
        assert output["reward"] == 0.0 and not output["done"] and output["metadata"] == {}
    assert env.get_metrics() == {}
    source = env.step(tagged("read_reference"))["observations"][0]["content"]
    for each in FASTER:
        source = source.replace(each["old"], each["new"])
    assert ": right, " in env.step(tagged("test", source))["observations"][0]["content"]
    last = env.step(tagged("submit"))
    assert last["done"] and last["observations"] == [] and last["reward"] > 0.0
    found = env.get_metrics()
    assert last["reward"] == found["log_score"] and found["right"] == 0.5
    assert found["ended"] == "submitted" and env.turns == found["calls"] == len(steps) + 3
    assert aggregate_for_environment("m890", [found, found])["score"] == found["score"]
    with pytest.raises(Exception, match=r"call init\(\)"):
        env.step(tagged("status"))


def test_turns_are_the_horizon_and_rewards_can_be_dense() -> None:
    from omegaconf import OmegaConf

    env, _ = made(OmegaConf.create({**CONFIG, "reward": "dense"}), max_turns=2)
    first = env.step(tagged("test", blocks(FASTER)))
    assert first["reward"] > 0.0 and not first["done"]
    last = env.step("Hm.")
    assert last["done"] and last["observations"] == []
    total = first["reward"] + last["reward"]
    assert total == pytest.approx(env.get_metrics()["log_score"])


def test_sessions_of_threads_do_not_touch_each_other() -> None:
    """What one comes to alone, it comes to among others; rows name their own task and chip."""

    def play(chip: str) -> Any:
        env, _ = made(chip=chip)
        env.step(tagged("test", blocks(FASTER)))
        env.step(tagged("submit"))
        return env.get_metrics()

    chips = ["m890", "small:train:1", "small:train:2"] * 2
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(play, chips))
    assert together[:3] == together[3:] == [play(chip) for chip in chips[:3]]
    assert len({found["score"] for found in together}) == 3


def test_program_of_the_documentation_runs(tmp_path: Path) -> None:
    assert ran(program("SkyRL"), tmp_path) == "True 0.0 submitted\n"
