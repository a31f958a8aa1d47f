"""What a player is given: a session that answers calls of tools with plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Served(Protocol):
    """A session, however it is served: in this process, or over a protocol."""

    @property
    def ended(self) -> str:
        """Why the session is over; "" while it goes on."""

    def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call a tool: ok, text, data, ended, left, as `Answer.as_dict` has them."""


Player = Callable[[Served], None]
