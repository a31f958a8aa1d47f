"""`m890 export harbor`: what is written, what is refused, and the script that judges."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from m890sim.cli import main
from m890sim.protocol import Recording, unfamiliar_chip
from tests.protocol.players import FASTER, WRONG

ROOT = Path(__file__).resolve().parents[2]
RUN = Path("environment") / "m890" / "run"
SMALL = ["--task", "row_softmax", "--hidden", "2", "--seed", "3"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harbor") / "task"
    assert main(["export", "harbor", str(folder), *SMALL]) == 0
    return folder


def test_agent_s_part_holds_nothing_of_the_chip(exported: Path) -> None:
    """Its image copies nothing in, and no text that it is given names the chip or a number."""
    image = (exported / "environment" / "Dockerfile").read_text("utf-8")
    assert not re.search(r"COPY|ADD|RUN|m890", image)
    chip = unfamiliar_chip(3)
    family = chip.name.partition(":")[0]
    for name in ("instruction.md", "task.toml"):
        text = (exported / name).read_text("utf-8")
        assert family not in text and chip.digest[:12] not in text
        assert "seed" not in text and str(chip.sram_bytes) not in text
    kept = json.loads((exported / RUN / "manifest.json").read_text("utf-8"))
    assert kept["chip"]["digest"] == chip.digest


def test_services_share_the_network_alone(exported: Path) -> None:
    compose = (exported / "environment" / "docker-compose.yaml").read_text("utf-8")
    assert 'network_mode: "service:main"' in compose
    assert "volumes" not in compose and "ports" not in compose
    words = json.loads(re.findall(r"command: (\[.*\])", compose)[0])
    assert words[:2] == ["m890", "mcp"] and "--unjudged" in words


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--allow-host", "https://x/y"], "the name of a host"),
        (["--wheel", "nothing.whl"], "is no wheel"),
        (["--chip", "m891"], "m891"),
    ],
)
def test_bad_options_are_refused(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "task"
    assert main(["export", "harbor", str(folder), *SMALL, *options]) == 2
    assert said in capsys.readouterr().err
    assert not folder.exists()


def test_used_folder_is_refused(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "harbor", str(exported), *SMALL]) == 2
    assert "not empty" in capsys.readouterr().err


def test_task_from_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = sorted((ROOT / "examples" / "tasks").glob("*.py"))
    own = next(path for path in found if "define_task" in path.read_text("utf-8"))
    name = re.findall(r"^(\w+) = define_task", own.read_text("utf-8"), re.M)[0]
    assert main(["export", "harbor", str(tmp_path / "task"), "--task", f"{own}:{name}"]) == 2
    assert "a file of its own" in capsys.readouterr().err


def test_wheel_and_hosts_are_taken(tmp_path: Path) -> None:
    wheel = tmp_path / "m890sim-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"PK")
    folder = tmp_path / "task"
    options = ["--wheel", str(wheel), "--allow-host", "api.example.com"]
    assert main(["export", "harbor", str(folder), *SMALL, *options]) == 0
    for place in ("environment/m890", "tests"):
        assert (folder / place / wheel.name).read_bytes() == b"PK"
        assert f"COPY {wheel.name}" in (folder / place / "Dockerfile").read_text("utf-8")
    assert 'allowed_hosts = ["api.example.com"]' in (folder / "task.toml").read_text("utf-8")
    assert "but api.example.com" in (folder / "README.md").read_text("utf-8")


def scored(
    exported: Path, tmp_path: Path, play: Callable[[Recording], Any] | None
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What tests/test.sh does about a session, without containers; None: no directory came."""
    run, rewards = tmp_path / "run", tmp_path / "rewards"
    if play is not None:
        run.mkdir()
        for file in (exported / RUN).iterdir():
            (run / file.name).write_bytes(file.read_bytes())
        recording = Recording(run)
        play(recording)
        recording.close()
    variables = {
        "M890_RUN": str(run),
        "M890_REWARDS": str(rewards),
        "M890_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "envs"))),
    }
    done = subprocess.run(
        ["bash", str(exported / "tests" / "test.sh")],
        env={**os.environ, **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, rewards / "reward.json"


def test_script_rewards_a_right_kernel(exported: Path, tmp_path: Path) -> None:
    def play(session: Recording) -> None:
        session.call("test", {"replace": FASTER, "base": 0})
        session.call("submit")

    done, file = scored(exported, tmp_path, play)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text("utf-8"))
    # The hidden cases are drawn afresh: how much it gains there is another number each time.
    assert found["speedup"] > 1.0 and -0.05 < found["reward"] < 1.0
    assert all(math.isfinite(value) for value in found.values())
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_script_gives_nothing_for_a_wrong_kernel(exported: Path, tmp_path: Path) -> None:
    def play(session: Recording) -> None:
        session.call("test", {"replace": WRONG, "base": 0})
        session.call("submit", {"evaluation": 1})

    done, file = scored(exported, tmp_path, play)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text("utf-8"))
    assert found["reward"] == 0.0 and found["speedup"] == 1.0 and found["right"] == 0.0


def test_script_says_that_no_session_came(exported: Path, tmp_path: Path) -> None:
    """No reward: the agent cannot take the directory away, so this is no failure of its own."""
    done, file = scored(exported, tmp_path, None)
    assert done.returncode == 1 and not file.exists()
    assert "m890: no reward:" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.long
def test_session_without_a_call_is_worth_nothing(exported: Path, tmp_path: Path) -> None:
    done, file = scored(exported, tmp_path, lambda session: None)
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text("utf-8"))["reward"] == 0.0
