"""TOOLS: what an agent that writes source may call, one row a tool, and the check of arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from m890sim.agents.reading import parse_json
from m890sim.agents.terms import DOCS, Terms
from m890sim.messages import described, shown

MOST_ARGUMENTS = 1 << 20  # bytes of a call's arguments as JSON; no source may be as long
MOST_REPLACEMENTS = 100
REFUSED = "(refused) "  # begins what stands for arguments that could not be taken


class CallError(Exception):
    """A call that is answered with what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool: name, JSON type, what it means."""

    name: str
    kind: str  # "text", "integer", "flag" or "replacements"
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: its description is all that a model is told of it. All arguments may be left out.

    level: the least documentation level that has it.
    """

    name: str
    text: str
    parameters: tuple[Parameter, ...] = ()
    level: str = "none"

    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return {
            "type": "object",
            "properties": {
                each.name: {**_SCHEMAS[each.kind], "description": each.text}
                for each in self.parameters
            },
            "additionalProperties": False,
        }


_SCHEMAS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer", "minimum": 0},
    "flag": {"type": "boolean"},
    "replacements": {
        "type": "array",
        "maxItems": MOST_REPLACEMENTS,
        "items": {
            "type": "object",
            "properties": {"old": {"type": "string"}, "new": {"type": "string"}},
            "required": ["old", "new"],
            "additionalProperties": False,
        },
    },
}

_SOURCE = (
    Parameter("source", "text", "the whole text of a kernel file"),
    Parameter(
        "replace",
        "replacements",
        "in place of source: replacements in an earlier text, made one after the other; each `old` "
        "must stand there exactly once",
    ),
    Parameter(
        "base",
        "integer",
        "the evaluation whose text `replace` changes (default: the text that was handed in last, "
        "at first the reference)",
    ),
)
_EVALUATION = Parameter("evaluation", "integer", "its number (default: the last one)")

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "read_task",
            "What a kernel must compute, the shapes of the public cases, how it is measured, and "
            "the budgets of this session. Read it first.",
        ),
        Tool(
            "read_reference",
            "The source of the reference kernel that a speedup is measured against; or the text of "
            "an evaluation.",
            (Parameter("evaluation", "integer", "its number (default: 0, the reference)"),),
        ),
        Tool(
            "read_docs",
            "The documentation that this session has: the list of pages, or one of them.",
            (Parameter("page", "text", "the name of a page (default: the list)"),),
        ),
        Tool(
            "check",
            "Check a kernel without running it: syntax, types, shapes, and whether it fits the "
            "chip on every public case. Spends no evaluation.",
            _SOURCE,
        ),
        Tool(
            "test",
            "Evaluate a kernel: is it right on inputs of many distributions, how many cycles does "
            "each public case take, where do the cycles go. Spends one evaluation; a kernel that "
            "`check` refuses, or that was evaluated before, spends none.",
            _SOURCE,
        ),
        Tool(
            "profile",
            "Where the cycles of an evaluated kernel go on one case: engines and what they wait "
            "for, lines, the critical path, memory, and what would help if it were free.",
            (
                _EVALUATION,
                Parameter("case", "text", "a public case (default: the longest one)"),
            ),
            level="full",
        ),
        Tool(
            "suggest",
            "Evaluate the most promising mechanical edits of an evaluated kernel, the best first. "
            "Each spends one evaluation and has a number: read_reference shows its text, and base "
            "goes on from it.",
            (
                _EVALUATION,
                Parameter("case", "text", "whose profile orders them (default: the longest)"),
                Parameter("most", "integer", "evaluations to spend (default: 8)"),
            ),
            level="full",
        ),
        Tool(
            "diff",
            "A unified diff of the texts of two evaluations.",
            (
                Parameter("old", "integer", "the first one (default: 0, the reference)"),
                Parameter("new", "integer", "the second one (default: the last)"),
            ),
        ),
        Tool("status", "What was spent, what is left, and the best right kernel so far."),
        Tool(
            "submit",
            "End the session with a kernel. It is judged once more on hidden cases and inputs; "
            "nothing of that is told.",
            (Parameter("evaluation", "integer", "its number (default: the best right one)"),),
        ),
    )
}


def tools_of(terms: Terms) -> dict[str, Tool]:
    """The tools of a session, by name."""
    level = DOCS.index(terms.docs)
    return {name: tool for name, tool in TOOLS.items() if DOCS.index(tool.level) <= level}


def read_arguments(given: Any) -> dict[str, Any]:
    """The arguments of a call, as an object or its JSON text. Raises: CallError."""
    if given is None or given == "":
        return {}
    if isinstance(given, str) and given.startswith(REFUSED):
        raise CallError(given[len(REFUSED) :][:1000])
    if isinstance(given, (str, bytes)):
        data = given.encode("utf-8", "replace") if isinstance(given, str) else given
        if len(data) > MOST_ARGUMENTS:
            raise CallError(oversized(len(data)))
        try:
            given = parse_json(data)
        except ValueError as error:
            raise CallError(f"the arguments are not JSON: {shown(str(error), 200)}") from None
    if not isinstance(given, Mapping):
        raise CallError(f"the arguments must be one JSON object, not {described(given)}")
    try:
        text = json.dumps(dict(given), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise CallError("the arguments must be plain JSON: texts, numbers, lists") from None
    if len(text) > MOST_ARGUMENTS:
        raise CallError(oversized(len(text)))
    try:
        found = parse_json(text.encode("ascii"))
    except ValueError as error:
        raise CallError(f"the arguments cannot be taken: {shown(str(error), 200)}") from None
    assert isinstance(found, dict)
    return found


def oversized(size: int) -> str:
    """What is said of arguments that are too long to be kept."""
    return f"the arguments have {size} bytes, at most {MOST_ARGUMENTS} are taken"


def check_arguments(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raises: CallError for what the tool's schema does not take."""
    known = {each.name: each for each in tool.parameters}
    for name, value in arguments.items():
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes no arguments"
            raise CallError(f"{tool.name} has no argument {described(name)}; {takes}")
        if value is None:  # as left out: many clients send every argument
            continue
        kind = known[name].kind
        if kind == "text" and not isinstance(value, str):
            raise CallError(f"{name} must be a text, not {described(value)}")
        if kind == "integer" and (type(value) is not int or value < 0):
            raise CallError(f"{name} must be an integer of at least 0, not {described(value)}")
        if kind == "replacements":
            _check_replacements(name, value)


def _check_replacements(name: str, value: Any) -> None:
    example = '[{"old": "BK: Tunable = 64", "new": "BK: Tunable = 128"}]'
    if not isinstance(value, list) or not value:
        raise CallError(f"{name} must be a list, as {example}, not {described(value)}")
    if len(value) > MOST_REPLACEMENTS:
        raise CallError(f"{name} may hold {MOST_REPLACEMENTS} replacements, not {len(value)}")
    for each in value:
        if (
            not isinstance(each, dict)
            or set(each) != {"old", "new"}
            or not all(isinstance(text, str) for text in each.values())
        ):
            raise CallError(f"each of {name} must have old and new, as {example}")


def replaced(text: str, replacements: list[dict[str, str]]) -> str:
    """The text after the replacements, one after the other. Raises: CallError."""
    for number, each in enumerate(replacements, 1):
        old, new = each["old"], each["new"]
        found = text.count(old) if old else 0
        if found != 1:
            what = "is empty" if not old else f"stands there {found} times"
            raise CallError(
                f"replacement {number}: `old` {what}, must stand there exactly once: "
                f"{shown(old, 120)!r}; take more of the text around it"
            )
        text = text.replace(old, new)
    return text
