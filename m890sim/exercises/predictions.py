"""Predictions: comment lines `# predict: cycles=900 bottleneck=dma` of a kernel file, and marks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from m890sim.errors import ExerciseError
from m890sim.exercises.bottleneck import BOTTLENECKS, shares_of
from m890sim.messages import described, shown

_LINE = re.compile(r"[ \t]*#[ \t]*predict[ \t]*:(.*)", re.S)
MOST_CYCLES = 10**12
# (the most that prediction and truth may differ by, as a ratio; marks of 1 for it)
CLOSE = ((1.02, 1.0), (1.2, 0.95), (1.5, 0.8), (2.0, 0.5))
ALIKE = 0.9  # a bottleneck with so much of the largest one's cycles is as good an answer
SECOND = 0.5  # marks for the next one


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a student expects of the kernel in the file; None where the file does not say."""

    cycles: int | None = None
    speedup: float | None = None  # against the kernel that the exercise starts from
    bottleneck: str | None = None  # of BOTTLENECKS

    def missing(self, asks: tuple[str, ...]) -> list[str]:
        """What is asked for and not said."""
        return [name for name in asks if getattr(self, name) is None]


def read_prediction(text: str) -> Prediction:
    """The prediction that a kernel file's comments hold; `?` stands for what is still open.

    Raises: ExerciseError for a line that is no prediction, or a thing that is said twice.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be the text of a kernel file, not {described(text)}")
    found: dict[str, int | float | str] = {}
    for line, written in enumerate(text.splitlines(), 1):
        match = _LINE.match(written)
        for word in match[1].split() if match else ():
            name, equals, value = word.partition("=")
            if not equals or name not in ("cycles", "speedup", "bottleneck"):
                raise ExerciseError(
                    f"line {line}: {shown(word)!r} is no prediction; write cycles=NUMBER, "
                    "speedup=NUMBER or bottleneck=WORD, with spaces between them"
                )
            if value == "?":
                continue
            if name in found:
                raise ExerciseError(f"line {line}: {name} is predicted twice; leave one of them")
            found[name] = _value(name, value, line)
    return Prediction(**found)  # type: ignore[arg-type]


def _value(name: str, value: str, line: int) -> int | float | str:
    where = f"line {line}: {name}="
    if name == "bottleneck":
        if value not in BOTTLENECKS:
            raise ExerciseError(
                f"{where}{shown(value)} is no bottleneck; say one of {', '.join(BOTTLENECKS)}"
            )
        return value
    plain = value.replace(",", "").replace("_", "").removesuffix("x")
    try:
        number = float(plain) if len(plain) <= 20 and plain.isascii() else math.nan
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and 0 < number <= MOST_CYCLES):
        raise ExerciseError(f"{where}{shown(value)} is no number above 0; write, say, {name}=12")
    if name == "cycles":
        if number != int(number):
            raise ExerciseError(f"{where}{shown(value)} must be a whole number of cycles")
        return int(number)
    return number


def closeness(predicted: float, true: float) -> float:
    """Marks (0 to 1) of a number: by the ratio of the larger to the smaller, as CLOSE says."""
    ratio = max(predicted / true, true / predicted)
    return next((marks for most, marks in CLOSE if ratio <= most), 0.0)


def named_well(bottleneck: str, cycles: Mapping[str, int]) -> float:
    """Marks (0 to 1) of a bottleneck. cycles: of the critical path, as `bottlenecks` gives them."""
    shares = shares_of(cycles)
    most = max(shares.values(), default=0.0)
    ordered = sorted(shares, key=lambda name: -shares[name])
    if shares.get(bottleneck, 0.0) >= ALIKE * most > 0:
        return 1.0
    return SECOND if bottleneck in ordered[1:2] and shares[bottleneck] > 0 else 0.0
