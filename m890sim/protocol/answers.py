"""Answers: what a call of a tool gives, as text for a model and as the same in plain data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from m890sim.agents.chain import canonical
from m890sim.session import LogEntry
from m890sim.session.records import WRONG, CaseCycles

_QUEUE = re.compile(r"\bdma[0-9]+\b")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one call.

    ok: False where nothing came of the call; `text` then says what was wrong and what to do. ended:
    why the session is over with this call, "" while it goes on. left: what may still be spent.
    """

    ok: bool
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    ended: str = ""
    left: dict[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over all of it (64 hex digits): what the log keeps."""
        return hashlib.sha256(canonical(self.as_dict())).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "ok": self.ok,
            "text": self.text,
            "data": self.data,
            "ended": self.ended,
            "left": self.left,
        }


def entry_data(entry: LogEntry, known: bool = False) -> dict[str, Any]:
    """An evaluation as plain data; known: it was evaluated before and was not counted again."""
    return {
        "evaluation": entry.index,
        "correct": entry.correct is True,
        "speedup": entry.speedup,
        "counted": not known,
        "cases": {each.case: _case(each) for each in entry.cases},
    }


def _case(case: CaseCycles) -> dict[str, Any]:
    found = case.attribution
    engines: dict[str, dict[str, float]] = {}
    if found is not None:
        # All DMA queues as one: how many there are is the chip's own affair.
        for name in ("dma", *(each for each in found.engines if not each.startswith("dma"))):
            causes = found.engine(name)
            whole = max(1, sum(causes.values()))
            shares: dict[str, float] = {}
            for cause, cycles in causes.items():
                cause = _QUEUE.sub("dma", cause)
                shares[cause] = round(shares.get(cause, 0.0) + cycles / whole, 4)
            engines[name] = shares
    return {
        "cycles": case.cycles,
        "reference_cycles": case.reference_cycles,
        "speedup": case.speedup,
        "engines": engines,
    }


def entry_text(entry: LogEntry, data: Mapping[str, Any], why: str, best: float) -> str:
    """The same for reading; why: what is wrong with it."""
    again = "" if data["counted"] else " (evaluated before; not counted again)"
    if entry.correct:
        head = f"Evaluation {entry.index}{again}: right, {entry.speedup:.3f}x over the reference."
    else:
        head = f"Evaluation {entry.index}{again}: WRONG, counts 1.0x. {why}"
    lines = [head]
    for name, case in data["cases"].items():
        if case["cycles"] is None:
            lines.append(f"    {name}: not timed")
            continue
        lines.append(
            f"    {name}: {case['cycles']:,} cycles, the reference {case['reference_cycles']:,} "
            f"({case['speedup']:.3f}x); {_engines(case['engines'])}"
        )
    lines.append(f"The best right kernel so far: {best:.3f}x.")
    return "\n".join(lines)


def _engines(engines: Mapping[str, Mapping[str, float]]) -> str:
    """Each engine's share of time at work, and its largest wait."""
    words = []
    for name, causes in engines.items():
        waits = {cause: share for cause, share in causes.items() if cause != "busy"}
        longest = max(waits, key=lambda cause: waits[cause], default="")
        text = f"{name} busy {causes.get('busy', 0.0):.0%}"
        words.append(f"{text}, {longest} {waits[longest]:.0%}" if longest else text)
    return "; ".join(words)


def failure_of(entry: LogEntry) -> str:
    """Why an evaluation failed, as the log says it: with its code."""
    return entry.message if entry.code in ("", WRONG) else f"{entry.code} {entry.message}"
