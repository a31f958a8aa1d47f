"""Hinted: reads the profile, changes the text as it says, and asks for suggestions.

It needs a session at level `full`. What a hint speaks for is a kind of change of text, of any
kernel: it knows no task and no kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m890sim.protocol.players import changes
from m890sim.protocol.players.climber import LEAST, Making, OverError, TextClimber
from m890sim.protocol.players.lines import read
from m890sim.protocol.players.probes import learn
from m890sim.protocol.players.served import Served

SHARE = 0.05  # of an engine's time: less is no hint
AT_ONCE = 12  # suggestions from one kernel
AGAIN = 3  # times that suggestions from one kernel are asked for in vain

# What engines wait for, or do, in a profile -> changes of text that may help.
_HINTS: tuple[tuple[str, Making], ...] = (
    ("fence", lambda lines, _: changes.deletions(lines)),
    ("nothing left", changes.words),
    ("busy", changes.folds),
)
_LAST: tuple[Making, ...] = (
    lambda lines, _: changes.numbers(lines),
    lambda lines, _: changes.moves(lines),
    changes.integers,
)


class HintedClimber(TextClimber):
    """Profile, text, suggestions, from the best kernel so far, until nothing is left."""

    def search(self) -> None:
        """See `TextClimber.search`."""
        self.read_manuals()
        learned = learn(self.lines, self.check)
        waits = self.profile()
        for cause, making in _HINTS:
            if waits.get(cause, 0.0) > SHARE:
                self.climb(making, learned)
        while True:
            before = self.speedup
            while self.suggestions():
                pass
            for making in _LAST:
                self.climb(making, learned)
            if self.speedup < before * LEAST:
                return

    def read_manuals(self) -> None:
        """What a careful reader has read before it begins; the hints are those of `profile`."""
        for page in self.call("read_docs")["data"]["pages"]:
            self.call("read_docs", {"page": page})

    def profile(self) -> dict[str, float]:
        """Share of the engines' time by what they do or wait for, on the case furthest back."""
        arguments: dict[str, Any] = {"evaluation": self.evaluation}
        if self.furthest is not None:
            arguments["case"] = self.furthest
        answer = self.call("profile", arguments)
        if not answer["ok"]:
            return {}
        found: dict[str, float] = {}
        engines: list[Mapping[str, Any]] = answer["data"]["engines"]
        whole = sum(sum(engine["causes"].values()) for engine in engines) or 1
        for engine in engines:
            for cause, cycles in engine["causes"].items():
                found[cause] = found.get(cause, 0.0) + cycles / whole
        return found

    @property
    def furthest(self) -> str | None:
        """The case that gained least; None before any did."""
        return min(self.cases, key=lambda name: self.cases[name]["speedup"], default=None)

    def suggestions(self) -> bool:
        """Go on from the best suggestion; whether one gained, on whatever case orders them."""
        for turn in range(AGAIN):
            arguments: dict[str, Any] = {"evaluation": self.evaluation, "most": AT_ONCE}
            if turn == 1 and self.furthest is not None:
                arguments["case"] = self.furthest
            answer = self.call("suggest", arguments)
            if not answer["ok"]:
                raise OverError
            right = [one for one in answer["data"]["tried"] if one["correct"]]
            best = max(right, key=lambda one: float(one["speedup"]), default=None)
            if best is not None and best["speedup"] > self.speedup * LEAST:
                self.go_to(best["evaluation"])
                return True
            if not answer["data"]["tried"]:
                return False
        return False

    def go_to(self, evaluation: int) -> None:
        """Stand on the text of an evaluation, which `test` tells again at no cost."""
        source = self.call("read_reference", {"evaluation": evaluation})["data"]["source"]
        data = self.call("test", {"source": source})["data"]
        self.tried.add(source)
        self.lines, self.speedup = read(source), data["speedup"]
        self.evaluation, self.cases = evaluation, data["cases"]


def play_hinted(served: Served) -> None:
    """Play a session at level `full` to its end."""
    HintedClimber(served).play()
