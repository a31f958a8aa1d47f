"""Harbor 0.26 itself reads an exported task, and finds nothing to complain of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from m890sim.cli import main

pytestmark = pytest.mark.adapters
pytest.importorskip("harbor", reason="the extra harbor is not installed")


@pytest.mark.parametrize("hosts", [[], ["--allow-host", "api.example.com"]])
def test_harbor_takes_the_task(hosts: list[str], tmp_path: Path) -> None:
    import yaml
    from harbor.models.task.config import NetworkMode
    from harbor.models.task.task import Task
    from harbor.models.task.verifier_mode import resolve_verifier_environment_definition

    folder = tmp_path / "task"
    options = ["--task", "row_softmax", "--hidden", "2", *hosts]
    assert main(["export", "harbor", str(folder), *options]) == 0
    assert Task.is_valid_dir(folder)
    task = Task(folder)
    assert "m890/row-softmax-none-" in task.name
    assert "read_task" in task.instruction
    config = task.config
    assert config.agent.network_mode is (NetworkMode.ALLOWLIST if hosts else NetworkMode.NO_NETWORK)
    (server,) = config.environment.mcp_servers
    assert server.url == "http://127.0.0.1:8000/mcp"
    verifier = resolve_verifier_environment_definition(config, task.paths)
    assert verifier is not None and verifier.bundled_tests
    assert verifier.directory == task.paths.tests_dir
    compose = folder / "environment" / "docker-compose.yaml"
    services = yaml.safe_load(compose.read_text("utf-8"))["services"]
    assert list(services) == ["m890"] and config.artifacts[0].service == "m890"
    compose.unlink()  # its rules need Docker
    lint = [str(Path(sys.executable).parent / "harbor"), "lint", str(folder)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
