"""verifiers plays sessions by its own runner and validator, against a scripted local server."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from m890sim.cli import main
from tests.protocol.chat_server import Handler, ScriptedServer, Step, call
from tests.protocol.players import FASTER, WRONG

pytestmark = pytest.mark.adapters
if importlib.util.find_spec("verifiers") is None:
    pytest.skip("the extra verifiers is not installed", allow_module_level=True)

SMALL = ("workload=row_softmax", "chip=m890", "hidden=2")
PROGRAMS = Path(sys.executable).parent


def says(content: str | None, *calls: dict[str, Any]) -> Step:
    """Answer with a stream that has every field of the interface, as the OpenAI client asks."""

    def step(handler: Handler) -> None:
        made = [{"index": at, "id": f"id{at}", **each} for at, each in enumerate(calls)]
        delta = {"role": "assistant", "content": content, **({"tool_calls": made} if made else {})}
        finish = "tool_calls" if made else "stop"
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
        parts = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
            {"choices": [], "usage": usage},
        ]
        lines = [json.dumps(head | part) for part in parts]
        text = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])
        handler.send(200, text.encode(), Content_Type="text/event-stream")

    return step


def ran(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of the programs of verifiers, in a home of its own."""
    caches = {"HOME": str(folder), "UV_CACHE_DIR": str(folder / "uv")}
    done = subprocess.run(
        [str(PROGRAMS / name), "m890-kernels", *arguments],
        cwd=folder,
        env={**os.environ, **caches, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def evaluated(folder: Path, server: ScriptedServer, *options: str) -> list[dict[str, Any]]:
    """The traces of an evaluation with the model of a server."""
    settings = [f"--env.taskset.{name.replace('=', ' ')}".split() for name in (*SMALL, *options)]
    ran(
        folder,
        "vf-eval",
        *("--no-push", "--no-rich", "--num-rollouts", "1", "--model", "scripted"),
        *("--client.base-url", server.url, "--client.api-key-var", "NO_KEY"),
        *("--env.agent.runtime.type", "subprocess", "--run.dir", "run", "-o", str(folder / "out")),
        *(each for pair in settings for each in pair),
    )
    lines = (folder / "out" / "run" / "traces.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose prepared scripts the tests of this file share."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def folder(home: Path) -> Path:
    """The same without what the test before left."""
    for name in ("out", "runs"):
        shutil.rmtree(home / name, ignore_errors=True)
    return home


def test_a_session_is_played_by_its_runner(folder: Path) -> None:
    steps = [
        says(None, call("read_task")),
        says("I try.", call("test", {"replace": WRONG, "base": 0})),
        says(None, call("test", {"source": 3}), call("read_reference", {"evaluation": 7})),
        says(None, call("test", {"replace": FASTER, "base": 0})),
        says(None, call("submit")),
        says("Done."),
    ]
    with ScriptedServer(steps) as server:
        (line,) = evaluated(folder, server, "count=1")
        first, last = server.requests[0], server.requests[-1]
    names = {each["function"]["name"] for each in first["tools"]}
    assert {"test", "submit", "read_docs"} <= names and "profile" not in names
    told = [str(each["content"]) for each in last["messages"] if each["role"] == "tool"]
    assert "Public cases:" in told[0] and "WRONG" in told[1] and "is submitted" in told[-1]
    assert "there is no evaluation 7" in told[3] and "right, " in told[4]
    assert "hidden_" not in json.dumps(last["messages"])
    trace = line["traces"][0] if "traces" in line else line
    found = trace["metrics"]
    assert trace["rewards"]["log_score"]["score"] > 0.0
    assert found["score"] > 1.0 and found["right"] == 0.5 and 0.0 < found["gap_closed"] < 1.0
    (run,) = (folder / "runs" / "verifiers").iterdir()
    assert trace["info"]["run"] == str(run) and main(["verify", str(run)]) == 0


def test_rollouts_have_sessions_of_their_own_and_level_full_its_tools(folder: Path) -> None:
    """A model that says nothing of use ends with its first message, and has the reference."""
    with ScriptedServer([says("Hello."), says("Hello.")]) as server:
        lines = evaluated(folder, server, "count=2", "docs=full")
        names = {each["function"]["name"] for each in server.requests[0]["tools"]}
    assert {"profile", "suggest"} <= names
    assert len(lines) == 2 and len(list((folder / "runs" / "verifiers").iterdir())) == 2


def test_validator_finds_the_rows_valid(folder: Path) -> None:
    options = ("--taskset.workload", "row_softmax", "--taskset.hidden", "2", "--taskset.count", "2")
    out = folder / "out"
    ran(folder, "vf-validate", *options, "--runtime.type", "subprocess", "-o", str(out))
    (summary,) = out.rglob("summary.json")
    assert json.loads(summary.read_text("utf-8"))["checks"] == {
        kind: {"valid": 2}
        | dict.fromkeys(("error", "invalid", "missing", "timeout", "unchecked"), 0)
        for kind in ("gold", "noop")
    }


def test_schemas_are_those_of_the_session() -> None:
    import asyncio

    import verifiers.v1 as vf
    from mcp.server.mcpserver import MCPServer

    from m890_envs.adapters.verifiers_taskset import KernelData, KernelToolset
    from m890sim.protocol import TOOLS, Terms, tools_of

    for docs in ("none", "full"):
        server, toolset = MCPServer("m890"), KernelToolset(vf.ToolsetConfig())
        asyncio.run(toolset.setup_task(KernelData(settings={"docs": docs})))
        toolset.register(server)
        tools = {each.name: each for each in asyncio.run(server.list_tools())}
        assert set(tools) == set(tools_of(Terms(docs=docs)))
        for name, tool in tools.items():
            assert tool.description == TOOLS[name].text
            properties = tool.input_schema["properties"]
            wanted = TOOLS[name].schema()["properties"]
            assert set(properties) == set(wanted) and "required" not in tool.input_schema
            for key, schema in properties.items():
                assert schema["description"] == wanted[key]["description"]
                assert schema["anyOf"][0]["type"] == wanted[key]["type"]
