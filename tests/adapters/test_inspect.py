"""Inspect plays sessions with its mock model, by its own runner, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from m890sim.cli import main
from tests.protocol.players import FASTER, WRONG

pytestmark = pytest.mark.adapters
inspect_ai = pytest.importorskip("inspect_ai", reason="the extra inspect is not installed")


def player(turns: list[tuple[str, Any]]) -> Any:
    """A mock model that makes these calls; "" as a name is a turn without a call.

    Its usage is given: Inspect would fetch a tokenizer to count it.
    """
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    outputs = []
    for name, said in turns:
        if name:
            output = ModelOutput.for_tool_call("mockllm/model", name, said)
        else:
            output = ModelOutput.from_content("mockllm/model", said)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        outputs.append(output)
    return get_model("mockllm/model", custom_outputs=outputs, memoize=False)


def evaluated(tmp_path: Path, turns: list[tuple[str, Any]], **limits: Any) -> Any:
    """The log of an eval in which a model makes these calls."""
    from m890_envs.adapters.inspect_task import kernel_source

    (log,) = inspect_ai.eval(
        kernel_source("row_softmax", chip="m890", hidden=2, out=str(tmp_path / "runs")),
        model=player(turns),
        log_dir=str(tmp_path / "logs"),
        display="none",
        **limits,
    )
    return log


def test_mock_model_plays_a_session(tmp_path: Path) -> None:
    log = evaluated(
        tmp_path,
        [
            ("read_task", {}),
            ("", "I think."),
            ("no_such_tool", {}),
            ("test", {"source": 3}),
            ("test", {"replace": WRONG, "base": 0}),
            ("test", {"replace": FASTER, "base": 0}),
            ("submit", {}),
        ],
    )
    assert log.status == "success", log.error
    (sample,) = log.samples
    texts = [message.text for message in sample.messages]
    assert any("Public cases:" in text for text in texts)
    assert any("No tool was called" in text for text in texts)
    assert any("there is no tool 'no_such_tool'" in text for text in texts)
    assert any("source must be a text" in text for text in texts)
    score = sample.scores["hidden_speedup"]
    assert score.value > 1.0 and score.answer is not None and "@kernel" in score.answer
    found = score.metadata
    assert found["hidden_gap"] == found["hidden_speedup"] / found["speedup"]
    assert found["right"] == 0.5 and 0.0 < found["gap_closed"] < 1.0
    assert found["ended"] == "submitted" and found["calls"] == 7
    assert main(["verify", found["run"]]) == 0


def test_model_that_calls_nothing_ends_at_one(tmp_path: Path) -> None:
    log = evaluated(tmp_path, [("", "Hello.")] * 5)
    (sample,) = log.samples
    assert sample.scores["hidden_speedup"].value == 1.0
    assert "5 turns" in sample.scores["hidden_speedup"].metadata["ended"]


def test_limit_of_inspect_is_an_end_too(tmp_path: Path) -> None:
    """The kernel counts that was best until then."""
    turns = [("test", {"replace": FASTER, "base": 0}), ("status", {}), ("status", {})]
    log = evaluated(tmp_path, turns, message_limit=4)
    assert log.status == "success", log.error
    (sample,) = log.samples
    assert sample.limit.type == "message"
    assert sample.scores["hidden_speedup"].value > 1.0


def test_samples_have_a_chip_and_a_session_each(tmp_path: Path) -> None:
    """They are played at once, by one model that looks at what it was told."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from m890_envs.adapters.inspect_task import kernel_source

    def say(messages: list[Any], *_: Any) -> Any:
        turn = sum(message.role == "assistant" for message in messages)
        calls = [("test", {"replace": FASTER, "base": 0}), ("status", {}), ("submit", {})]
        output = ModelOutput.for_tool_call("mockllm/model", *calls[turn])
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    (log,) = inspect_ai.eval(
        kernel_source("row_softmax", seed=3, samples=3, hidden=2, out=str(tmp_path / "runs")),
        model=get_model("mockllm/model", custom_outputs=say, memoize=False),
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    assert log.status == "success", log.error
    found = [sample.scores["hidden_speedup"] for sample in log.samples]
    assert len({score.value for score in found}) == 3 and all(score.value > 1 for score in found)
    chips = set()
    for score in found:
        assert score.metadata["calls"] == 3 and main(["verify", score.metadata["run"]]) == 0
        manifest = Path(score.metadata["run"]) / "manifest.json"
        chips.add(json.loads(manifest.read_text("utf-8"))["chip"]["digest"])
    assert len(chips) == 3
    told = "".join(message.text for sample in log.samples for message in sample.messages)
    assert ":test:" not in told


BY_NAME = """
import inspect_ai, m890_envs
if "site-packages" not in m890_envs.__file__:
    raise SystemExit(77)
(log,) = inspect_ai.eval("m890_envs/kernel_source", model="mockllm/model", run_samples=False,
                         task_args={"samples": 3}, log_dir="logs", display="none")
print(log.eval.task, log.eval.dataset.samples)
"""


def test_task_has_a_name_where_the_package_is_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", BY_NAME],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("the package is installed from its source folder")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["m890_envs/kernel_source", "3"]
