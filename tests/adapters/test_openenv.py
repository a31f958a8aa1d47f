"""OpenEnv's own client plays sessions with a server that is a process of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from m890sim.cli import main
from m890sim.protocol import unfamiliar_chip
from tests.protocol.players import FASTER, WRONG

pytestmark = pytest.mark.adapters
pytest.importorskip("openenv", reason="the extra openenv is not installed")
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "examples" / "openenv"


def served(tmp_path: Path, **settings: str) -> Iterator[str]:
    """The address of the package's server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {f"M890_{name.upper()}": value for name, value in settings.items()}
    path = os.pathsep.join(map(str, (ROOT, ROOT / "envs", PACKAGE)))
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "server.app:app", "--port", str(port)],
        env={**os.environ, **variables, "PYTHONPATH": path, "M890_OUT": str(tmp_path / "runs")},
        cwd=tmp_path,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert process.poll() is None, "the server has ended"
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def best(tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path, task="row_softmax", hidden="2", sessions="2", evaluations="20")


@pytest.fixture
def hidden(tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path, task="row_softmax", hidden="2", reward="hidden", chip="m890")


def client(url: str) -> Any:
    from openenv.core.generic_client import GenericEnvClient

    return GenericEnvClient(base_url=url, message_timeout_s=120.0).sync()


def step(env: Any, tool: str, **arguments: Any) -> Any:
    return env.step({"tool": tool, "arguments": arguments})


def played(url: str, seed: int, changes: list[dict[str, str]]) -> tuple[list[Any], Any]:
    """Everything that a session of some calls answers, and its last state."""
    with client(url) as env:
        found = [env.reset(seed=seed)]
        found.append(step(env, "read_task"))
        found.append(step(env, "nonsense"))
        found.append(step(env, ""))
        found.append(env.step({"tool": "test", "arguments": '{"source": 3'}))
        found.append(step(env, "test", replace=changes, base=0))
        found.append(step(env, "submit"))
        found.append(step(env, "status"))
        return found, env.state()


def test_two_clients_have_a_session_each(best: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        right, wrong = pool.map(played, [best] * 2, (3, 4), (FASTER, WRONG))
    for found, state in (right, wrong):
        assert "You make a kernel faster" in found[0].observation["text"]
        assert {tool["name"] for tool in found[0].observation["tools"]} >= {"test", "submit"}
        assert "Public cases:" in found[1].observation["text"]
        assert "there is no tool 'nonsense'" in found[2].observation["text"]
        assert "No tool was called" in found[3].observation["text"]
        assert "not JSON" in found[4].observation["text"]
        assert [each.done for each in found] == [False] * 6 + [True] * 2
        assert state["ended"] and state["step_count"] == 6
    assert right[0][5].reward > 0.0 and right[0][5].observation["data"]["correct"] is True
    assert right[1]["best_speedup"] == 2.0 ** sum(each.reward for each in right[0])
    assert [each.reward for each in wrong[0]] == [0.0] * 8
    assert wrong[0][6].observation["data"]["evaluation"] == 0, "nothing else was right"
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) == 2
    for run in runs:
        assert main(["finish", str(run)]) in (0, 1)
        assert main(["verify", str(run)]) == 0


def test_nothing_of_the_chip_is_told(best: str) -> None:
    found, state = played(best, 3, FASTER)
    text = json.dumps([each.observation for each in found]) + json.dumps(state)
    chip = unfamiliar_chip(3)
    assert ":test:" in chip.name and not re.search(r"SRAM|sram|:test:", text)
    assert chip.name.partition(":")[0] not in text and chip.digest[:12] not in text


def test_a_third_client_waits(best: str) -> None:
    from websockets.exceptions import ConnectionClosed

    with client(best) as first, client(best) as second:
        first.reset(seed=1)
        second.reset(seed=1)
        with pytest.raises((RuntimeError, ConnectionError, ConnectionClosed)), client(best) as env:
            env.reset(seed=1)
        assert step(first, "status").observation["ok"]
    with client(best) as env:
        for _ in range(50):  # until the server has seen that the others are gone
            try:
                assert step(env, "status").observation["text"].startswith("no session")
                break
            except Exception:
                time.sleep(0.2)


def test_hidden_reward_comes_at_the_end(hidden: str) -> None:
    found, _ = played(hidden, 0, FASTER)
    assert [each.reward for each in found[:6]] == [0.0] * 6
    assert found[6].reward > 0.0 and found[7].reward == 0.0
    assert "hidden" not in found[6].observation["text"]


def validated(*arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "openenv"), "validate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_openenv_s_validator_takes_package_and_server(best: str) -> None:
    assert "Verdict: PASS" in validated(str(PACKAGE), "--level", "static", "--skip-build")
    assert "Verdict: PASS" in validated("--url", best, "--timeout", "60")


def test_settings_that_are_refused_are_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "m890_envs.adapters.openenv_server"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs"))),
            "M890_DOCS": "some",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "docs must be one of none, language, full" in done.stderr
    assert "Traceback" not in done.stderr
