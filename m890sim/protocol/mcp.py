"""A session over the Model Context Protocol: the same tools, for any client that speaks it.

The low-level server of the official SDK (extra `mcp`): names, descriptions and schemas are those of
`TOOLS`, and whatever a client says of a tool is checked, counted and logged by the session itself.
"""

from __future__ import annotations

import importlib
import logging
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from m890sim.errors import M890Error
from m890sim.protocol.answers import Answer
from m890sim.protocol.description import instructions
from m890sim.protocol.record import Recording
from m890sim.protocol.tools import MOST_ARGUMENTS, Tool

NAME = "m890"
BEAT = 1.0  # seconds between two notifications of a call that takes long
MOST_LINE = 64 * MOST_ARGUMENTS  # bytes of one message; a longer one is dropped unread
_READERS = ("read_task", "read_reference", "read_docs", "diff", "status", "check")


class NoMcpError(M890Error):
    """The SDK is not installed."""


def sdk() -> tuple[Any, Any, Any, Any]:
    """anyio, the types of the protocol, the low-level server and its stdio transport.

    Raises: NoMcpError.
    """
    try:
        return tuple(  # type: ignore[return-value]
            importlib.import_module(name)
            for name in ("anyio", "mcp_types", "mcp.server.lowlevel", "mcp.server.stdio")
        )
    except ImportError as error:
        raise NoMcpError(
            f"m890 mcp needs the SDK of the Model Context Protocol, release 2 ({error}); "
            'install it: pip install "m890sim[mcp]"'
        ) from error


class McpHost:
    """Serves one recording.

    ended: called once, as soon as the session is over or the client has gone; it may come from any
    thread, while a call still goes on. failed: called once with why the recording cannot go on.
    """

    def __init__(
        self, recording: Recording, ended: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        self.recording = recording
        self.failure = ""  # why it cannot go on
        self._ended, self._failed = ended, failed
        self._raw: dict[Any, tuple[Any, Any]] = {}  # calls that the SDK would not let through
        self._anyio, self._types, self._server, self._stdio = sdk()

    def run(self) -> None:
        """Serve stdin and stdout until the client goes. Nothing else may use stdout meanwhile.

        Raises: OSError in a group, where stdout cannot be written.
        """
        with _quiet():
            self._anyio.run(self._serve)

    def run_http(self, host: str, port: int) -> None:
        """Serve HTTP (streamable, at /mcp) until a signal; clients share the one session.

        Raises: OSError where the port cannot be had.
        """
        uvicorn = importlib.import_module("uvicorn")
        with _quiet(), socket.create_server((host, port), backlog=64) as listening:
            app = self.server().streamable_http_app(host=host, session_idle_timeout=None)
            config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5)
            uvicorn.Server(config).run([listening])

    def server(self) -> Any:
        """The server, for a transport of one's own."""
        self._one = self._anyio.Lock()
        server = self._server.Server(
            NAME,
            title="Kernels for a fictional accelerator",
            instructions=instructions(self.recording.plan),
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        server.middleware.append(self._let_through)
        return server

    async def _serve(self) -> None:
        anyio = self._anyio
        server = self.server()
        lines = anyio.wrap_file(BoundedLines(sys.stdin.buffer))
        async with self._stdio.stdio_server(stdin=lines) as (messages, answers):
            send, receive = anyio.create_memory_object_stream(0)

            async def sort() -> None:
                """Answer what is no message, which the server would drop in silence."""
                async with send:
                    async for item in messages:
                        if isinstance(item, Exception):
                            await answers.send(self._unreadable())
                        else:
                            await send.send(item)
                self._ended()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sort)
                await server.run(receive, answers, server.create_initialization_options())
                tasks.cancel_scope.cancel()

    def _unreadable(self) -> Any:
        session_message = importlib.import_module("mcp.shared.message").SessionMessage
        text = (
            "this line is no message of JSON-RPC 2.0, or has more than "
            f"{MOST_LINE} bytes; send one JSON object a line"
        )
        types = self._types
        error = types.ErrorData(code=types.PARSE_ERROR, message=text)
        return session_message(types.JSONRPCError(jsonrpc="2.0", id=None, error=error))

    async def _list_tools(self, ctx: Any, params: Any) -> Any:
        tools = self.recording.session.tools.values()
        return self._types.ListToolsResult(tools=[self._tool(tool) for tool in tools])

    def _tool(self, tool: Tool) -> Any:
        reads = tool.name in _READERS
        return self._types.Tool(
            name=tool.name,
            description=tool.text,
            input_schema=tool.schema(),
            annotations=self._types.ToolAnnotations(
                read_only_hint=reads,
                destructive_hint=tool.name == "submit",
                idempotent_hint=reads,
                open_world_hint=False,
            ),
        )

    async def _let_through(self, ctx: Any, call_next: Any) -> Any:
        """Calls that are malformed come to the session too, which says what is wrong with them."""
        params = ctx.params
        if ctx.method == "tools/call" and isinstance(params, Mapping):
            name, arguments = params.get("name"), params.get("arguments")
            if not isinstance(name, str) or not isinstance(arguments, dict | None):
                self._raw[ctx.request_id] = name, arguments
                ctx = replace(ctx, params={**params, "name": "malformed", "arguments": {}})
        return await call_next(ctx)

    async def _call_tool(self, ctx: Any, params: Any) -> Any:
        name, arguments = self._raw.pop(ctx.request_id, (params.name, params.arguments))
        answer = await self._answer(ctx, name, arguments)
        types = self._types
        said = answer.as_dict()
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=said.pop("text"))],
            structured_content=said,
            is_error=not answer.ok,
        )

    async def _answer(self, ctx: Any, name: Any, arguments: Any) -> Answer:
        """Call a tool in a thread; one call at a time, in the order in which they came."""
        anyio = self._anyio
        done: list[Answer] = []
        steps: list[tuple[int, int, str]] = []

        def progress(step: int, steps_in_all: int, what: str) -> None:
            steps.append((step, steps_in_all, what))

        async def beat() -> None:
            began, number = anyio.current_time(), 0.0
            while True:
                await anyio.sleep(BEAT)
                step, total, what = steps[-1] if steps else (0, None, "at work")
                # It must rise each time: between two steps it goes half of what is left.
                number = max(float(step), number + (1.0 - number % 1.0) / 2)
                seconds = round(anyio.current_time() - began)
                text = f"{name:.60}: {what}, {seconds} s"
                with suppress(Exception):  # a client that has gone
                    await ctx.session.report_progress(number, total, text)

        async with self._one, anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            done.append(await anyio.to_thread.run_sync(self._call, name, arguments, progress))
            tasks.cancel_scope.cancel()
        return done[0]

    def _call(self, name: Any, arguments: Any, progress: Callable[[int, int, str], None]) -> Answer:
        if not self.failure:
            try:
                answer = self.recording.call(name, arguments, progress)
                if answer.ended:
                    self._ended()
                return answer
            except M890Error as error:
                self.failure = str(error)
                self._failed(self.failure)
            except Exception as error:  # what it says is the host's to read, not the client's
                self.failure = f"fault of the simulator: {type(error).__name__}: {error}"
                self._failed(self.failure)
        reason = "it cannot go on, or cannot be written down"
        return Answer(
            False,
            f"The session stops here: {reason}. What was answered before is kept; whoever runs it "
            "can go on with it later.",
            ended=reason,
        )


class BoundedLines:
    """Lines of a binary stream as text; of one that is too long, a blank text that is no message.

    Not a file: the SDK asks it for `readline` alone, in a thread.
    """

    def __init__(self, stream: Any, most: int = MOST_LINE) -> None:
        self._stream, self._most = stream, most

    def readline(self) -> str:
        """The next line, "" at the end."""
        line: bytes = self._stream.readline(self._most)
        if len(line) == self._most and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(self._most)
            return "too long\n"
        return line.decode("utf-8", "replace")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the SDK's log off stderr but for what went wrong."""
    logger = logging.getLogger("mcp")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
