"""Terms: what a session grants to an agent that writes source, beside its evaluations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from m890sim.messages import described

DOCS = ("none", "language", "full")  # documentation: each level holds those before it
MOST_CALLS = 100_000
MOST_SECONDS = 30 * 24 * 3600
MOST_SOURCE = 200_000  # characters of one source
MOST_SAID = 24 * 2**20  # characters of all sources of a session: its log stays readable


@dataclass(frozen=True, slots=True)
class Terms:
    """Documentation, budgets and stop rules of a session of `m890sim.protocol`.

    docs: "none" (the reference's source alone), "language" (the language's manual), "full" (the
    chip's manual, profiles, suggestions). calls: of tools, each counts. seconds: from the first
    call on, 0 for no end. source: characters of one source. patience: so many evaluations without
    a gain of more than 1% over the best end the session, 0 for no such rule. turns: so many turns
    in a row without a call of a tool end it.
    Raises: TypeError, ValueError, naming the field.
    """

    docs: str = "none"
    calls: int = 1158
    seconds: int = 0
    source: int = 20_000
    patience: int = 0
    turns: int = 5

    def __post_init__(self) -> None:
        if self.docs not in DOCS:
            kind = ValueError if isinstance(self.docs, str) else TypeError
            raise kind(f"docs must be one of {', '.join(DOCS)}, not {described(self.docs)}")
        for name, least, most in (
            ("calls", 1, MOST_CALLS),
            ("seconds", 0, MOST_SECONDS),
            ("source", 100, MOST_SOURCE),
            ("patience", 0, MOST_CALLS),
            ("turns", 1, MOST_CALLS),
        ):
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"{name} must be an integer, not {described(value)}")
            if not least <= value <= most:
                raise ValueError(f"{name} must lie in {least} ... {most}, not {described(value)}")
        if self.calls * self.source > MOST_SAID:
            raise ValueError(
                f"{self.calls} calls with sources of {self.source} characters come to more than "
                f"the {MOST_SAID} characters of a session; allow fewer calls or shorter sources"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a manifest."""
        return asdict(self)

    @classmethod
    def of(cls, data: Any) -> Terms:
        """The terms of a manifest. Raises: TypeError, ValueError, KeyError."""
        if not isinstance(data, dict):
            raise TypeError(f"terms must be an object, not {described(data)}")
        names = {field.name for field in fields(cls)}
        for name in (*data, *names):
            if name not in names or name not in data:
                raise KeyError(f"terms: {name!s:.60}")
        return cls(**data)
