"""A server that speaks chat completions and answers as a script says, on a port of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Step = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request: noted, then answered by the next step of the script."""

    protocol_version = "HTTP/1.1"
    server: ScriptedServer
    body: dict[str, Any]

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(self.body)
        self.server.paths.append(self.path)
        self.server.keys.append(self.headers.get("Authorization"))
        self.server.next_step()(self)

    def send(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class ScriptedServer(ThreadingHTTPServer):
    """Serves while it is a context; requests: the bodies that came."""

    daemon_threads = True

    def __init__(self, steps: Iterable[Step]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.steps = list(steps)
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self._lock = threading.Lock()
        self.released = threading.Event()  # set at the end, for steps that hang

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def next_step(self) -> Step:
        with self._lock:
            return self.steps.pop(0) if self.steps else fails(500, "the script is over")

    def handle_error(self, *_: Any) -> None:
        pass  # a client that went away

    def __enter__(self) -> ScriptedServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


def call(name: Any, arguments: Any = None, **more: Any) -> dict[str, Any]:
    """A call of a tool, as a model makes it."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return {"type": "function", "function": {"name": name, "arguments": text}, **more}


def message(content: Any = None, calls: Any = None) -> dict[str, Any]:
    """A message of a model."""
    found: dict[str, Any] = {"role": "assistant", "content": content}
    return found if calls is None else found | {"tool_calls": calls}


def says(content: Any = None, calls: Any = None, finish: str = "stop") -> Step:
    """Answer with a message, whole or as a stream, as it was asked for."""
    said = message(content, calls)

    def step(handler: Handler) -> None:
        if handler.body["stream"]:
            parts = stream_of(said, finish)
            handler.send(200, b"".join(parts), Content_Type="text/event-stream")
            return
        choice = {"index": 0, "message": said, "finish_reason": finish}
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        handler.send(200, json.dumps({"choices": [choice], "usage": usage}).encode())

    return step


def uses(*calls: dict[str, Any]) -> Step:
    """Answer with calls of tools that have ids."""
    return says(None, [{"id": f"id{number}", **each} for number, each in enumerate(calls)])


def answers(data: Any, status: int = 200, **headers: str) -> Step:
    """Answer with bytes, or with JSON."""
    found = data if isinstance(data, bytes) else json.dumps(data).encode()
    return lambda handler: handler.send(status, found, **headers)


def fails(status: int, text: str = "", **headers: str) -> Step:
    """Answer with an error."""
    return answers({"error": {"message": text}}, status, **headers)


def hangs(handler: Handler) -> None:
    """Answer nothing."""
    handler.server.released.wait(60)


def closes(handler: Handler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


def breaks_off(data: bytes, kind: str = "application/json", more: int = 1000) -> Step:
    """Promise more than comes."""

    def step(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data) + more))
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True

    return step


def chunked(parts: list[bytes], end: bool = True) -> Step:
    """A stream in chunks, as most servers send it; without an end it breaks off."""

    def step(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in [*parts, b""] if end else parts:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.close_connection = True

    return step


def drips(handler: Handler) -> None:
    """A byte now and then, without an end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    while not handler.server.released.wait(0.05):
        handler.wfile.write(b"d")
        handler.wfile.flush()


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One part of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def stream_of(said: dict[str, Any], finish: str = "stop") -> list[bytes]:
    """A message as a stream: every text in pieces of three characters."""
    parts = [b": keep-alive\n\n", event({"role": "assistant"})]
    content = said.get("content") or ""
    parts += [event({"content": content[at : at + 3]}) for at in range(0, len(content), 3)]
    for index, each in enumerate(said.get("tool_calls") or ()):
        function = each["function"]
        head = {key: value for key, value in each.items() if key != "function"}
        named = {**head, "index": index, "function": {"name": function["name"], "arguments": ""}}
        parts.append(event({"tool_calls": [named]}))
        text = function["arguments"]
        for at in range(0, len(text), 3):
            piece = {"index": index, "function": {"arguments": text[at : at + 3]}}
            parts.append(event({"tool_calls": [piece]}))
    usage = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}
    return [
        *parts,
        event({}, finish),
        b"data: " + json.dumps(usage).encode() + b"\n\n",
        b"data: [DONE]\n\n",
    ]
