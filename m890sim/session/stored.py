"""Evaluations that processes share: timings and verdicts as JSON in a `scale.store.TextStore`.

A result is kept under all that it follows from: the timing version, the version of m890sim, the
digests of chip, task, case and kernel, and for a verdict how the gate was asked. What comes out is
what was put in, attribution included, so that nobody can tell from an evaluation where it was made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from m890sim.chip import ChipSpec
from m890sim.judge.evaluation import package_version
from m890sim.session.records import CaseCycles, Verdict
from m890sim.timing import TIMING_VERSION, Attribution
from m890sim.timing.attribution import engine_names

MOST_CYCLES = 1 << 62
MOST_FRESH, MOST_TAKEN = 10_000, 20_000  # texts of a shelf


class Texts(Protocol):
    """Texts by key; either may forget."""

    def get(self, key: str) -> str | None:
        """The text of a key; None where there is none."""

    def put(self, key: str, value: str) -> None:
        """Keep a text."""


class Shelf:
    """Texts of one process in front of a store: what others found out, and what was new here."""

    def __init__(self, below: Texts | None = None) -> None:
        self._below = below
        self._taken: dict[str, str] = {}
        self._fresh: list[tuple[str, str]] = []

    def get(self, key: str) -> str | None:
        """See `Texts`; what was taken is given once, as a memory keeps what it was given."""
        found = self._taken.pop(key, None)
        return self._below.get(key) if found is None and self._below is not None else found

    def put(self, key: str, value: str) -> None:
        """See `Texts`."""
        if len(self._fresh) < MOST_FRESH:
            self._fresh.append((key, value))
        if self._below is not None:
            self._below.put(key, value)

    def fresh(self) -> list[tuple[str, str]]:
        """What was put since this was asked last."""
        found, self._fresh = self._fresh, []
        return found

    def take(self, found: Iterable[tuple[str, str]]) -> None:
        """Have what another process's shelf had fresh."""
        if len(self._taken) >= MOST_TAKEN:
            self._taken = {}
        self._taken.update(found)


class Evaluations:
    """Timings and verdicts in a store, by what they follow from; anything unreadable is absent."""

    def __init__(self, store: Texts) -> None:
        self.store = store

    def timing(
        self, key: str, chip: ChipSpec, case: str, yardsticks: tuple[int, int | None]
    ) -> CaseCycles | None:
        """A kernel on a case; yardsticks: the reference's cycles and the lower bound."""
        data = self._read(key)
        try:
            cycles, instructions, code, message, spread = data
            if type(code) is not str or type(message) is not str:
                return None
            if cycles is None:
                return CaseCycles(case, None, None, *yardsticks, code, message)
            if not (_counts(cycles) and _counts(instructions)):
                return None
            found = _attribution(spread, chip)
        except (TypeError, ValueError, zlib.error):
            return None
        return CaseCycles(case, cycles, instructions, *yardsticks, code, message, attribution=found)

    def keep_timing(self, key: str, found: CaseCycles) -> None:
        """Keep a timing."""
        spread = None
        if found.attribution is not None:
            data = np.ascontiguousarray(found.attribution.cycles, dtype="<i8").tobytes()
            spread = base64.b85encode(zlib.compress(data, 1)).decode("ascii")
        self._write(key, [found.cycles, found.instructions, found.code, found.message, spread])

    def verdict(self, key: str) -> Verdict | None:
        """What the gate said."""
        data = self._read(key)
        try:
            correct, code, message, case = data
        except (TypeError, ValueError):
            return None
        texts = all(type(text) is str for text in (code, message, case))
        return Verdict(correct, code, message, case) if type(correct) is bool and texts else None

    def keep_verdict(self, key: str, found: Verdict) -> None:
        """Keep a verdict."""
        self._write(key, [found.correct, found.code, found.message, found.case])

    def _read(self, key: str) -> Any:
        text = self.store.get(key)
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError):
            return None

    def _write(self, key: str, data: object) -> None:
        self.store.put(key, json.dumps(data, separators=(",", ":")))


def key_of(*parts: object) -> str:
    """The key of a result that follows from these parts, each of them plain data."""
    named = [TIMING_VERSION, package_version(), *parts]
    return hashlib.sha256(json.dumps(named).encode("utf-8")).hexdigest()


def _counts(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_CYCLES


def _attribution(text: Any, chip: ChipSpec) -> Attribution:
    """Unpack the sums over the cores. Raises: ValueError, TypeError, zlib.error."""
    shape = (1, len(engine_names(chip)), len(Attribution.of(chip, np.empty(0, np.int64)).causes))
    size = 8 * shape[1] * shape[2]
    data = zlib.decompressobj().decompress(base64.b85decode(text), size + 1)
    if len(data) != size:
        raise ValueError("an attribution of another chip")
    # On bytes, which nobody can make writeable: sessions share it.
    cycles = np.frombuffer(data, dtype="<i8").reshape(shape)
    return Attribution.of(chip, cycles)
