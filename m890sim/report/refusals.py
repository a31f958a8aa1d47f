"""What was refused in a run, and why: evaluations that failed, kernels that were judged wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from m890sim.errors import CODES
from m890sim.session import edit_from_data
from m890sim.session.records import WRONG

EXAMPLES = 3  # of each reason
EDITS = 5


@dataclass(frozen=True, slots=True)
class RefusalExample:
    """One that was refused: its evaluation, and what was said."""

    evaluation: int
    message: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason to refuse.

    code: a key of errors.CODES, "wrong" where values are wrong, "judged" by the final judgement.
    edits: names of the last edits of those kernels, the most frequent first.
    """

    code: str
    reason: str
    count: int
    examples: tuple[RefusalExample, ...]
    edits: tuple[tuple[str, int], ...] = ()


def refusals(lines: Sequence[dict[str, Any]], rejected: Iterable[Any] = ()) -> list[Refusal]:
    """By reason, the most frequent first. rejected: what the final judgement refused."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line["correct"] is False and "profile" not in line:
            groups.setdefault(line["code"] or WRONG, []).append(line)
    found = [
        Refusal(
            code,
            "the values are wrong" if code == WRONG else CODES.get(code, "unknown"),
            len(group),
            tuple(RefusalExample(line["index"], line["message"]) for line in _unlike(group)),
            tuple(Counter(filter(None, map(_last_edit, group))).most_common(EDITS)),
        )
        for code, group in groups.items()
    ]
    judged = [one for one in rejected if isinstance(one, dict) and type(one.get("index")) is int]
    if judged:
        examples = [RefusalExample(one["index"], str(one.get("message"))) for one in judged]
        reason = "fast, and wrong by the final judgement"
        found.append(Refusal("judged", reason, len(judged), tuple(examples[:EXAMPLES])))
    return sorted(found, key=lambda one: (-one.count, one.code))


def _unlike(group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A few with different messages, the first of each."""
    seen: dict[str, dict[str, Any]] = {}
    for line in group:
        seen.setdefault(line["message"], line)
    return list(seen.values())[:EXAMPLES]


def _last_edit(line: dict[str, Any]) -> str:
    edits = line.get("edits")
    try:
        return edit_from_data(edits[-1]).name if edits else ""
    except ValueError:
        return ""
