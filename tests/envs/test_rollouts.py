"""Episodes as trainers take them: rewards, ends, the final judgement; nothing hidden is told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from m890_envs.adapters.hosting import begun, judged, plan_for
from m890_envs.adapters.rollouts import KernelRollout
from tests.protocol.players import FASTER, WRONG


def rollout(**settings: Any) -> KernelRollout:
    """On a small task, with two hidden cases."""
    return KernelRollout(**{"task": "row_softmax", "chips": ["m890"], "hidden": 2, **settings})


def played(found: KernelRollout) -> list[float]:
    """The rewards of an episode with a wrong kernel, two better ones, and a call for nothing."""
    found.begin(5)
    return [
        found.call(tool, arguments)[1]
        for tool, arguments in (
            ("test", {"replace": WRONG, "base": 0}),
            ("test", {"replace": FASTER[:1], "base": 0}),
            ("nonsense", {}),
            ("test", {"replace": FASTER, "base": 0}),
            ("submit", {}),
        )
    ]


def test_final_and_dense_rewards_have_one_sum() -> None:
    """Of all calls but those for nothing, which cost the penalty."""
    late, early = rollout(penalty=0.25), rollout(reward="dense", penalty=0.25)
    first, second = played(late), played(early)
    found = late.metrics
    assert first == [0.0, 0.0, -0.25, 0.0, pytest.approx(found["log_score"])]
    assert second[0] == 0.0 and second[1] > 0.0 and second[3] > 0.0
    assert sum(first) == pytest.approx(sum(second))
    assert second[4] == pytest.approx(math.log2(found["score"] / found["speedup"]))
    assert found == early.metrics


def test_metrics_are_those_of_a_run_directory(tmp_path: Path) -> None:
    """But hidden cases, which follow from what was done, and the start's place in the counts."""
    found = rollout()
    played(found)
    plan = plan_for("mine", task="row_softmax", chip="m890", hidden=2)
    recording = begun(plan, tmp_path)
    for replacements in (WRONG, FASTER[:1], FASTER):
        recording.call("test", {"replace": replacements, "base": 0})
    recording.call("nonsense")
    recording.call("submit")
    twin = judged(recording)
    recording.close()
    mine = found.metrics
    hidden = ("score", "log_score", "hidden_speedup", "hidden_gap")
    assert set(mine) == set(twin) - {"run"}
    for name in set(mine) - set(hidden):
        assert mine[name] == twin[name], name
    assert mine["score"] == pytest.approx(twin["score"], rel=0.5) and mine["score"] > 1.0


def test_episode_that_is_left_is_judged_by_its_best_kernel() -> None:
    found = rollout()
    found.begin(5)
    found.call("test", {"replace": FASTER, "base": 0})
    assert not found.over
    assert found.metrics["score"] > 1.0 and found.over
    assert found.metrics["ended"] == "whoever played it went away"
    text, reward = found.call("status", {})
    assert "the session is over" in text and reward == 0.0


def test_nothing_of_the_judgement_is_told() -> None:
    found = rollout(reward="dense", horizon=2)
    texts = [found.begin(5)]
    texts.append(found.call("test", {"replace": FASTER, "base": 0})[0])
    texts.append(found.call("status", {})[0])
    assert found.over and "2 calls are spent" in texts[-1]
    score = found.metrics["hidden_speedup"]
    for text in texts:
        assert "hidden_" not in text and f"{score:.3f}" not in text


def test_same_seed_same_episode_and_chips_are_drawn() -> None:
    drawn = rollout(chips=["small"])
    texts = [drawn.begin(seed) for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


def test_unknown_reward_is_refused() -> None:
    with pytest.raises(ValueError, match="reward must be one of final, dense"):
        rollout(reward="hidden")


def test_calls_are_texts_of_the_environment() -> None:
    found = rollout()
    found.begin(5)
    told = found.call("check", {"source": "\N{EM DASH}"})[0]
    assert told == found.act(json.dumps({"tool": "check", "arguments": {"source": "—"}}))[0]
