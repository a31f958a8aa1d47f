"""Hosts of players: a recording in this process, or `m890 mcp` as a process of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from m890sim.protocol.mcp import sdk
from m890sim.protocol.record import Recording
from m890sim.protocol.session import SourceSession


class HostedHere:
    """A session of this process as a player sees it."""

    def __init__(self, session: Recording | SourceSession) -> None:
        self._session = session

    @property
    def ended(self) -> str:
        """See `Served.ended`."""
        return self._session.ended

    def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """See `Served.call`."""
        return self._session.call(tool, arguments).as_dict()


class HostedByMcp:
    """A session of `m890 mcp` as a player sees it, through the SDK's own client."""

    def __init__(self, portal: Any, client: Any) -> None:
        self._portal, self._client, self._ended = portal, client, ""

    @property
    def ended(self) -> str:
        """See `Served.ended`."""
        return self._ended

    def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """See `Served.call`."""
        result = self._portal.call(self._client.call_tool, tool, dict(arguments or {}))
        text = "".join(part.text for part in result.content)
        answer: dict[str, Any] = {"text": text} | dict(result.structured_content)
        self._ended = answer["ended"]
        return answer


@contextmanager
def over_mcp(options: Sequence[str]) -> Iterator[HostedByMcp]:
    """A session of `m890 mcp` with these options, served by a process of its own.

    Raises: NoMcpError without the SDK; whatever the SDK raises where that process ends early.
    """
    sdk()
    threads = importlib.import_module("anyio.from_thread")
    mcp = importlib.import_module("mcp")
    server = mcp.StdioServerParameters(
        command=sys.executable, args=["-P", "-m", "m890sim.cli", "mcp", *options]
    )
    with (
        threads.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            mcp.Client(mcp.stdio_client(server, sys.__stderr__))
        ) as client,
    ):
        yield HostedByMcp(portal, client)
