"""Climber: changes the text that it stands on, tests, and keeps what is right and faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from m890sim.protocol.players import changes
from m890sim.protocol.players.lines import Lines, read, write
from m890sim.protocol.players.probes import Learned, repaired
from m890sim.protocol.players.served import Served

LEAST = 1.001  # times the best so far: less is no gain
SAME = 0.9999  # times the best so far: what prepares others may stay where it costs no more
MENDINGS = 4  # of one text, as its errors ask
TOO_LARGE = "does not fit"

Making = Callable[[Lines, Learned], Iterator[changes.Change]]


class OverError(Exception):
    """The budget is spent, or the session is over."""


class TextClimber:
    """A player's place in a session: a text, its speedup, and what was tried."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.lines: Lines = []
        self.speedup = 1.0
        self.evaluation = 0  # the number of the text
        self.cases: dict[str, Any] = {}  # of the text, as `test` tells them
        self.tried: set[str] = set()
        self.wrong: set[str] = set()  # what made a kernel wrong, which is not tried again
        self.shrinking: set[str] = set()  # what may be tried with smaller numbers once more

    def play(self) -> None:
        """Read, search, submit."""
        try:
            self.call("read_task")
            self.lines = read(self.call("read_reference")["data"]["source"])
            self.search()
        except OverError:
            pass
        if not self.served.ended:
            self.served.call("submit")

    def search(self) -> None:
        """Make the text faster until nothing is left. Raises: OverError."""
        raise NotImplementedError

    def climb(
        self,
        making: Making,
        learned: Learned,
        least: float = LEAST,
        anew: bool = False,
        shrink: bool = False,
    ) -> None:
        """Changes of one kind, each once, or from the beginning after each gain.

        shrink: what does not fit is tried with smaller numbers of the head.
        """
        done: set[str] = set()
        gained = True
        while gained:
            gained = False
            for what, changed in making(self.lines, learned):
                if what in done or what in self.wrong:
                    continue
                done.add(what)
                self.shrinking = {what} if shrink else set()
                if self.test(what, changed, least):
                    gained = True
                    if anew:
                        done.clear()
                    break

    def test(self, what: str, changed: Lines, least: float) -> bool:
        """Whether a text, mended as errors ask, is right and fast enough to go on from."""
        said = ""
        for _ in range(MENDINGS):
            answer = self.answer(changed)
            if answer is None:
                return False
            if answer["ok"]:
                return self.judged(what, changed, answer["data"], least)
            said = answer["text"]
            mended = repaired(changed, said)
            if mended is None:
                break
            changed = mended
        if what in self.shrinking and TOO_LARGE in said:
            self.shrinking.remove(what)
            return any(
                self.test(f"{what}, {number}", smaller, least)
                for number, smaller in changes.numbers(changed, (0.75, 0.5))
            )
        return False

    def answer(self, changed: Lines) -> dict[str, Any] | None:
        """What `test` says of a text; None where it was tried before."""
        source = write(changed)
        if source in self.tried:
            return None
        self.tried.add(source)
        answer = self.call("test", {"source": source})
        if not answer["ok"] and answer["left"]["evaluations"] < 1:
            raise OverError
        return answer

    def judged(self, what: str, changed: Lines, data: dict[str, Any], least: float) -> bool:
        """Whether an evaluation is right and fast enough; then it is the one to go on from."""
        if not data["correct"]:
            self.wrong.add(what)
            return False
        if data["speedup"] < self.speedup * least:
            return False
        self.lines, self.speedup = changed, max(self.speedup, data["speedup"])
        self.evaluation, self.cases = data["evaluation"], data["cases"]
        return True

    def check(self, changed: Lines) -> tuple[bool, str]:
        """Whether a text is well formed and fits, and what is said of it."""
        answer = self.call("check", {"source": write(changed)})
        return answer["ok"], answer["text"]

    def call(self, tool: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call a tool, while a call is left for submit. Raises: OverError."""
        if self.served.ended:
            raise OverError
        answer = self.served.call(tool, arguments)
        if answer["ended"] or answer["left"]["calls"] < 2:
            raise OverError
        return answer
