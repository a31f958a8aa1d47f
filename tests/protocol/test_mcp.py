"""`m890 mcp` with the SDK's own client, each time as a real process on pipes.

Not in the usual run, which needs no SDK: `pytest -m adapters tests/protocol`. Where the SDK is not
installed (extra `mcp`), they run in an environment that is made for them.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from m890sim.cli import main
from m890sim.protocol import TOOLS, Recording, Terms, instructions, tools_of
from m890sim.protocol.log import read_calls
from m890sim.protocol.mcp import McpHost
from tests.protocol import players
from tests.protocol.players import FASTER

pytestmark = pytest.mark.adapters
anyio = pytest.importorskip("anyio")
mcp = pytest.importorskip("mcp")

SMALL = ["--task", "row_softmax", "--hidden", "2"]
WIDER = {"replace": [{"old": "BR: Tunable = 32", "new": "BR: Tunable = 64"}], "base": 0}


def command(*options: str) -> list[str]:
    return ["-m", "m890sim.cli", "mcp", *options]


def played(
    options: list[str],
    play: Callable[[Any], Awaitable[None]],
    errors: Path | None = None,
    mode: str = "auto",
) -> None:
    """Play a session with the SDK's client, which starts the server and ends it."""

    async def session() -> None:
        parameters = mcp.StdioServerParameters(command=sys.executable, args=command(*options))
        with open(errors or os.devnull, "a") as log:
            async with mcp.Client(mcp.stdio_client(parameters, log), mode=mode) as client:
                await play(client)

    anyio.run(session)


class Pipes:
    """A server and what a client would write to it, byte by byte."""

    def __init__(self, *options: str, start: bool = True) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command(*options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._id = 0
        if start:
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}}
            self.ask("initialize", hello | {"clientInfo": {"name": "raw", "version": "1"}})
            self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def write(self, message: Any) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, method: str, params: Any) -> int:
        self._id += 1
        self.write({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        return self._id

    def read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, method: str, params: Any) -> Any:
        number = self.send(method, params)
        while True:
            found = self.read()
            if found.get("id") == number:
                return found

    def tool(self, name: str, arguments: Any = None) -> Any:
        return self.ask("tools/call", {"name": name, "arguments": arguments})

    def end(self) -> tuple[bytes, bytes, int]:
        out, err = self.process.communicate(timeout=60)
        return out, err, self.process.returncode


def judged(path: Path) -> dict[str, Any]:
    """The result of the judgement, which comes from a process of its own."""
    end = time.monotonic() + 60
    while not (path / "result.json").exists():
        assert time.monotonic() < end, "nothing was judged"
        time.sleep(0.1)
    found = json.loads((path / "result.json").read_text())
    assert isinstance(found, dict)
    return found


def calls_of(path: Path) -> list[dict[str, Any]]:
    return read_calls(path)[0]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_agent_plays_a_whole_session(tmp_path: Path, mode: str) -> None:
    """In the protocol's present form, and with the handshake that older clients make."""
    path, errors = tmp_path / "run", tmp_path / "errors"
    told: list[str] = []
    steps: list[tuple[float, float | None, str]] = []

    async def play(client: Any) -> None:
        terms = Terms(docs="full")
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(listed) == list(tools_of(terms)) == list(TOOLS)
        for name, tool in TOOLS.items():
            assert (listed[name].description, listed[name].input_schema) == (
                tool.text,
                tool.schema(),
            )
        assert client.instructions == instructions(plan_in(path))

        async def told_of(step: float, total: float | None, text: str) -> None:
            steps.append((step, total, text))

        async def call(name: str, arguments: Any = None) -> Any:
            steps.clear()
            found = await client.call_tool(name, arguments, progress_callback=told_of)
            told.append(found.content[0].text)
            assert all(later[0] > step[0] for step, later in pairwise(steps))
            assert all(text.startswith(f"{name}: ") for _, _, text in steps)
            assert found.structured_content["ok"] is not found.is_error
            return found

        assert "Public cases:" in (await call("read_task")).content[0].text
        source = (await call("read_reference")).structured_content["data"]["source"]
        assert (await call("check", {"source": source})).structured_content["data"]["well_formed"]
        wrong = await call("test", {"source": source.replace("def ", "def def ")})
        assert wrong.is_error and "E1" in wrong.content[0].text
        again = await call("test", {"source": source})
        assert "not counted again" in again.content[0].text
        assert (await call("suggest", {"most": 40})).structured_content["data"]["tried"]
        assert "critical path" in (await call("profile")).content[0].text
        assert (await call("diff")).content[0].text.startswith("---")
        ended = await call("submit")
        assert ended.structured_content["ended"] == "submitted"
        over = await call("status")
        assert over.is_error and "the session is over: submitted" in over.content[0].text

    played([*SMALL, "--docs", "full", "--out", str(path)], play, errors, mode)
    found = judged(path)
    assert found["session"]["submitted"] == found["best"]["index"] > 0
    assert found["speedup"] > 1.0
    assert main(["verify", str(path)]) == 0
    # What the judgement finds is nothing that the client was told.
    assert not any("hidden cases" in text and "drew" in text for text in told)
    assert errors.read_text().splitlines() == [f"run directory: {path}"]


def test_long_call_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, where the second between two notifications can be made shorter."""
    monkeypatch.setattr("m890sim.protocol.mcp.BEAT", 0.02)
    recording = players.recording(tmp_path / "run")
    steps: list[tuple[float, float | None, str]] = []

    async def told(step: float, total: float | None, text: str) -> None:
        steps.append((step, total, text))

    async def play() -> None:
        async with mcp.Client(McpHost(recording, lambda: None, print).server()) as client:
            await client.call_tool("suggest", {"most": 12}, progress_callback=told)

    anyio.run(play)
    recording.close()
    assert len(steps) > 3
    assert all(later[0] > step[0] for step, later in pairwise(steps))
    assert steps[-1][1] == 12 and steps[-1][0] < 12
    assert all(text.startswith("suggest: ") and text.endswith(" s") for _, _, text in steps)


def plan_in(path: Path) -> Any:
    from m890sim.agents.files import read_manifest
    from m890sim.agents.plan import plan_of

    return plan_of(read_manifest(path), str(path))


def test_malformed_calls_are_answered_and_logged(tmp_path: Path) -> None:
    path = tmp_path / "run"

    async def play(client: Any) -> None:
        async def refused(name: str, arguments: Any, text: str) -> None:
            found = await client.call_tool(name, arguments)
            assert found.is_error and text in found.content[0].text

        await refused("profile", {}, "there is no tool 'profile'; the tools are read_task")
        await refused("test", {}, "give either source, the whole text, or replace")
        await refused("test", {"source": 3}, "source must be a text, not 3")
        await refused("test", {"code": "x"}, "test has no argument 'code'; it takes source")
        await refused("test", {"source": "x" * 10_000_000}, "at most 1048576 are taken")
        await refused("test", {"source": "#" * 30_000}, "this session takes 20,000")
        await refused("read_docs", {"page": "chip"}, "has no documentation")

    played([*SMALL, "--out", str(path)], play)
    judged(path)
    assert [line["ok"] for line in calls_of(path)] == [False] * 7
    assert main(["verify", str(path)]) == 0


def test_bytes_that_are_no_messages_are_answered(tmp_path: Path) -> None:
    path = tmp_path / "run"
    pipes = Pipes(*SMALL, "--out", str(path), "--unjudged")
    for line in (b"{\n", b"[]\n", b"\xff\xfe\x00\n", b"nothing\n", b"[" * 100_000 + b"\n"):
        pipes.write(line)
        found = pipes.read()
        assert found["id"] is None and found["error"]["code"] == -32700
        assert "no message of JSON-RPC 2.0" in found["error"]["message"]
    assert "error" in pipes.ask("no/method", {})
    for params in ({}, {"name": 3}, {"name": "status", "arguments": []}, {"name": "status"}):
        found = pipes.ask("tools/call", params)["result"]
        assert found["isError"] is (params != {"name": "status"})
    asked = {"name": "status", "arguments": "not an object"}
    assert "not JSON" in pipes.ask("tools/call", asked)["result"]["content"][0]["text"]
    out, err, status = pipes.end()
    assert (out, status) == (b"", 0) and b"Traceback" not in err
    assert [line["ok"] for line in calls_of(path)] == [False, False, False, True, False]
    assert main(["verify", str(path)]) == 0


def test_line_without_an_end_is_dropped(tmp_path: Path) -> None:
    from m890sim.protocol.mcp import MOST_LINE

    pipes = Pipes(*SMALL, "--out", str(tmp_path / "run"))
    part = b"x" * (1 << 20)
    for _ in range(MOST_LINE // len(part) + 2):
        pipes.write(part)
    pipes.write(b"\n")
    assert pipes.read()["error"]["code"] == -32700
    assert not pipes.tool("status")["result"]["isError"]
    pipes.end()


def test_thousand_calls_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run"
    pipes = Pipes(*SMALL, "--calls", "1000", "--out", str(path))
    numbers = [pipes.send("tools/call", {"name": "status"}) for _ in range(1010)]
    found = [pipes.read() for _ in numbers]
    assert [each["id"] for each in found] == numbers
    ended = [each["result"]["structuredContent"]["ended"] for each in found]
    assert ended == [""] * 999 + ["its 1000 calls are spent"] * 11
    pipes.end()
    assert len(calls_of(path)) == 1000
    assert judged(path)["session"]["ended"] == "its 1000 calls are spent"


def test_client_that_disappears_in_the_middle_of_a_test(tmp_path: Path) -> None:
    path = tmp_path / "run"
    pipes = Pipes("--task", "extend", "--hidden", "2", "--out", str(path))
    assert not pipes.tool("status")["result"]["isError"]
    pipes.send(
        "tools/call",
        {
            "name": "test",
            "arguments": {
                "replace": [{"old": "BK: Tunable = 64", "new": "BK: Tunable = 32"}],
                "base": 0,
            },
        },
    )
    time.sleep(0.3)  # the evaluation takes longer
    for stream in (pipes.process.stdin, pipes.process.stdout):
        assert stream is not None
        stream.close()
    assert pipes.process.wait(timeout=60) == 0
    assert pipes.process.stderr is not None
    assert b"Traceback" not in pipes.process.stderr.read()
    found = judged(path)
    assert found["session"] | {"chain": ""} == {
        "submitted": None,
        "ended": "not submitted",
        "calls": 2,
        "chain": "",
    }
    assert [line["ok"] for line in calls_of(path)] == [True, True]
    assert main(["verify", str(path)]) == 0
    recording = Recording(path)  # it may go on, and the result is then another
    assert recording.call("submit").ok
    recording.close()
    assert not (path / "result.json").exists()


def test_client_that_asks_nothing_leaves_no_result(tmp_path: Path) -> None:
    path = tmp_path / "run"
    pipes = Pipes(*SMALL, "--out", str(path))
    assert pipes.ask("tools/list", {})["result"]["tools"]
    assert pipes.end()[2] == 0
    time.sleep(1)
    assert not (path / "result.json").exists()
    assert main(["verify", str(path)]) == 0


def test_two_clients_on_one_directory(tmp_path: Path) -> None:
    path = tmp_path / "run"
    first = Pipes(*SMALL, "--out", str(path))
    second = Pipes("--resume", str(path), start=False)
    out, err, status = second.end()
    assert (out, status) == (b"", 2) and b"in use by another run" in err
    third = Pipes(*SMALL, "--out", str(path), start=False)
    out, err, status = third.end()
    assert (out, status) == (b"", 2) and b"go on with --resume" in err
    assert not first.tool("status")["result"]["isError"]
    first.end()


def test_killed_server_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run"
    pipes = Pipes(*SMALL, "--docs", "full", "--out", str(path))
    assert not pipes.tool("status")["result"]["isError"]
    pipes.send("tools/call", {"name": "suggest", "arguments": {"most": 60}})
    while (path / "evaluations.jsonl").read_bytes().count(b"\n") < 3:
        time.sleep(0.01)
    pipes.process.kill()
    pipes.end()
    assert len(calls_of(path)) == 1
    assert main(["verify", str(path)]) == 0
    again = Pipes("--resume", str(path))
    found = again.tool("status")["result"]
    assert found["structuredContent"]["data"]["calls"]["spent"] == 3
    assert found["structuredContent"]["data"]["evaluations"]["spent"] >= 3
    assert not again.tool("submit")["result"]["isError"]
    assert again.end()[2] == 0
    judged(path)
    assert main(["verify", str(path)]) == 0


def test_terminated_server_is_judged_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    pipes = Pipes(*SMALL, "--out", str(path))
    pipes.tool("status")
    pipes.process.send_signal(signal.SIGTERM)
    pipes.end()
    assert not (path / "result.json").exists()
    assert main(["finish", str(path)]) == 0
    assert "Nothing was submitted, after 1 call" in capsys.readouterr().out
    assert main(["verify", str(path)]) == 0


def test_full_disk_ends_the_session_with_the_log_intact(tmp_path: Path) -> None:
    path = tmp_path / "run"
    pipes = Pipes(*SMALL, "--out", str(path))
    assert not pipes.tool("status")["result"]["isError"]
    size = (path / "calls.jsonl").stat().st_size
    resource.prlimit(pipes.process.pid, resource.RLIMIT_FSIZE, (size + 10, size + 10))
    for _ in range(2):
        found = pipes.tool("status")["result"]
        assert found["isError"]
        assert "cannot be written down" in found["content"][0]["text"]
    out, err, status = pipes.end()
    assert (out, status) == (b"", 2)
    assert b"cannot write" in err and f"m890 mcp --resume {path}".encode() in err
    assert not (path / "result.json").exists()
    assert main(["verify", str(path)]) == 0
    again = Pipes("--resume", str(path), "--unjudged")
    assert again.tool("status")["result"]["structuredContent"]["left"]["calls"] == 1156
    again.end()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_a_client_that_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, *command(*SMALL, "--out", str(path))],
            input=json.dumps(
                {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
            ).encode()
            + b"\n",
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert main(["verify", str(path)]) == 0


def test_interrupted_server_says_nothing_on_stdout(tmp_path: Path) -> None:
    path = tmp_path / "run"
    pipes = Pipes(*SMALL, "--out", str(path), "--unjudged")
    pipes.tool("status")
    pipes.process.send_signal(signal.SIGINT)
    out, err, status = pipes.end()
    assert (out, status) == (b"", 130) and b"Traceback" not in err
    assert main(["verify", str(path)]) == 0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(port: int, *options: str) -> Iterator[None]:
    """A server of HTTP, from when it listens until it is told to end."""
    server = subprocess.Popen([sys.executable, *command(*options)])
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end and server.poll() is None
                time.sleep(0.1)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def test_http_serves_one_session_to_all_clients(tmp_path: Path) -> None:
    """Clients come and go, the session goes on."""
    path, port = tmp_path / "run", free_port()

    async def play() -> None:
        url = f"http://127.0.0.1:{port}/mcp"
        async with mcp.Client(url) as one:
            found = await one.call_tool("test", {"replace": FASTER, "base": 0})
            assert found.structured_content["data"]["evaluation"] == 1
        async with mcp.Client(url) as one, mcp.Client(url) as two:
            found = await one.call_tool("status")
            assert found.structured_content["data"]["evaluations"]["spent"] == 2
            found = await two.call_tool("nonsense")
            assert found.is_error and "there is no tool" in found.content[0].text
            assert not (await one.call_tool("submit")).is_error
            found = await two.call_tool("status")
            assert found.is_error and "the session is over" in found.content[0].text

    with serving(port, *SMALL, "--out", str(path), "--http", str(port), "--unjudged"):
        anyio.run(play)
        other = command(*SMALL, "--out", str(tmp_path / "other"), "--http", str(port))
        refused = subprocess.run([sys.executable, *other], capture_output=True, text=True)
        assert refused.returncode == 2 and "cannot be served" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert [call["tool"] for call in calls_of(path)] == ["test", "status", "nonsense", "submit"]
    assert not (path / "result.json").exists()
    assert main(["finish", str(path)]) in (0, 1)
    assert main(["verify", str(path)]) == 0


def test_harbor_s_session_is_played_and_judged(tmp_path: Path) -> None:
    """What the containers of an exported task run, one after the other, without containers."""
    folder, port = tmp_path / "task", free_port()
    assert main(["export", "harbor", str(folder), *SMALL, "--seed", "5"]) == 0
    run = folder / "environment" / "m890" / "run"
    compose = (folder / "environment" / "docker-compose.yaml").read_text("utf-8")
    words = json.loads(re.findall(r"command: (\[.*\])", compose)[0])
    here = {"/m890/run": str(run), "8000": str(port)}
    assert words[:2] == ["m890", "mcp"] and set(here) < set(words)

    async def play() -> None:
        async with mcp.Client(f"http://127.0.0.1:{port}/mcp") as client:
            assert "profile" not in {tool.name for tool in (await client.list_tools()).tools}
            await client.call_tool("test", {"replace": FASTER, "base": 0})
            await client.call_tool("submit")

    with serving(port, *(here.get(word, word) for word in words[2:])):
        anyio.run(play)
    rewards = tmp_path / "rewards"
    variables = {
        "M890_RUN": str(run),
        "M890_REWARDS": str(rewards),
        "M890_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    script = ["bash", str(folder / "tests" / "test.sh")]
    done = subprocess.run(script, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((rewards / "reward.json").read_text())["reward"] > 0.0
