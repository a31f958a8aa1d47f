"""Sessions on small tasks, and calls that tests make in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m890sim.protocol import Recording, SourceSession, Terms, session_plan
from m890sim.session import Memory

MEMORY = Memory()  # which changes no result
_FENCED = "row_sum(l[:rows], s[:rows])\n            fence()\n"
FASTER = [
    {"old": "xt[:rows])\n            fence()\n", "new": "xt[:rows])\n"},
    {"old": _FENCED, "new": _FENCED.splitlines()[0] + "\n"},
    {"old": "ot[:rows])\n            fence()\n", "new": "ot[:rows])\n"},
]
WRONG = [{"old": "            div(s[:rows], s[:rows], l[:rows])\n", "new": ""}]
HUGE = [{"old": "BR: Tunable = 8", "new": "BR: Tunable = 4096"}]


def plan(**settings: Any) -> Any:
    """A plan on row_softmax, two hidden cases."""
    terms = Terms(**{"docs": "full"} | settings.pop("terms", {}))
    return session_plan(
        "row_softmax", settings.pop("chip", "m890"), terms=terms, hidden=2, **settings
    )


def session(**settings: Any) -> SourceSession:
    """A session without files."""
    return SourceSession(plan(**settings), memory=MEMORY)


def recording(path: Path, **settings: Any) -> Recording:
    """A session in a new directory."""
    clock = settings.pop("clock", None)
    more = {} if clock is None else {"clock": clock}
    return Recording.begin(path, plan(**settings), **more)


def play(served: Any) -> None:
    """Some of everything: reading, refused texts, right and wrong kernels, a profile."""
    served.call("read_task")
    served.call("read_reference", {})
    served.call("read_docs", {"page": "chip"})
    served.call("nonsense", {"x": 1})
    served.call("test", '{"source": 3')
    served.call("test", {"source": "def f(:"})
    served.call("check", {"replace": HUGE, "base": 0})
    served.call("test", {"replace": WRONG, "base": 0})
    served.turn()
    served.call("test", {"replace": FASTER, "base": 0})
    served.call("profile", {"case": "softmax-64x1024"})
    served.call("suggest", {"evaluation": 2, "most": 2})
    served.call("diff", {"new": 2})
    served.call("status")
