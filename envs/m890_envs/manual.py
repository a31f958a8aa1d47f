"""The tables of docs/environments.md, made from what the environments are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from m890_envs.fields import CASE, CHIP, INFO, PROFILE, PROFILE_ENGINES, PROGRAM, PROGRESS, Field
from m890_envs.registration import FIXED
from m890sim.schedule.actions import ROWS, Actions

_BLOCK = re.compile(
    r"(?P<begin><!-- table: (?P<name>[a-z]+) -->\n).*?(?P<end><!-- end table -->)", re.S
)


def renew(text: str) -> str:
    """The document with every table between `<!-- table: NAME -->` and `<!-- end table -->` made
    anew. Raises: KeyError for an unknown name.
    """
    return _BLOCK.sub(lambda m: f"{m['begin']}{TABLES[m['name']]()}{m['end']}", text)


def _ids() -> str:
    rows = []
    for name, arguments in FIXED.items():
        cases = ", ".join(arguments["cases"])
        numbers = [str(arguments[key]) for key in ("chip", "horizon", "budget", "sites")]
        count = Actions(arguments["sites"]).n
        rows.append([f"`{name}`", f"`{arguments['task']}`", cases, *numbers, f"{count:,}"])
    heads = ("id", "task", "cases", "chip", "horizon", "budget", "sites", "actions")
    return _markdown(heads, rows)


def _actions() -> str:
    arguments: dict[str, list[tuple[int, str]]] = {}
    for number, (name, argument) in enumerate(ROWS):
        text = "" if argument is None else str(argument).replace("'", "")
        arguments.setdefault(name, []).append((number, text))
    rows = []
    for name, found in arguments.items():
        numbers = ", ".join(str(number) for number, _ in found)
        rows.append([numbers, f"`{name}`", ", ".join(text for _, text in found)])
    return _markdown(("rows", "edit", "arguments"), rows)


def _columns(fields: tuple[Field, ...]) -> Callable[[], str]:
    def table() -> str:
        rows = [[str(n), f"`{f.name}`", f.unit, f.text] for n, f in enumerate(fields)]
        return _markdown(("column", "name", "unit", "what it is"), rows)

    return table


def _engines() -> str:
    return _markdown(("row", "engine"), [[str(n), e] for n, e in enumerate(PROFILE_ENGINES)])


def _info() -> str:
    rows = [[f"`{key.name}`", key.dtype, key.shape, key.text] for key in INFO]
    return _markdown(("key", "dtype", "shape", "what it is"), rows)


def _markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "ids": _ids,
    "actions": _actions,
    "program": _columns(PROGRAM),
    "profile": _columns(PROFILE),
    "engines": _engines,
    "chip": _columns(CHIP),
    "case": _columns(CASE),
    "progress": _columns(PROGRESS),
    "info": _info,
}
