"""The tables of docs/environments.md, made from what the environments are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from m890_envs.fields import (
    CASE,
    CHIP,
    COUNTS,
    EDGE,
    INFO,
    KIND,
    METRICS,
    NODE,
    PROFILE,
    PROFILE_ENGINES,
    PROGRAM,
    PROGRESS,
    SOURCE_INFO,
    STATEMENT_KINDS,
    TENSOR,
    UNIFORM_CASE,
    UNIFORM_CHIP,
    UNIFORM_PROGRAM,
    Column,
    Key,
)
from m890_envs.registration import FIXED, GRAPH, MACRO
from m890sim.schedule.actions import ROWS
from m890sim.schedule.macros import MACROS, macros_of

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
        count = 1 + arguments["action_rows"] * arguments["sites"]
        rows.append([f"`{name}`", f"`{arguments['task']}`", cases, *numbers, f"{count:,}"])
    heads = ("id", "task", "cases", "chip", "horizon", "budget", "sites", "actions")
    return _markdown(heads, rows)


def _newer() -> str:
    rows = []
    for beside, macro, graph in zip(FIXED, MACRO, GRAPH, strict=True):
        count = 1 + GRAPH[graph]["action_rows"] * GRAPH[graph]["sites"]
        macros = 1 + macros_of(MACRO[macro]["action_rows"])
        rows.append([f"`{beside}`", f"`{macro}`", f"{macros}", f"`{graph}`", f"{count:,}"])
    heads = ("beside", "macro actions", "actions", "single edits, graph", "actions")
    return _markdown(heads, rows)


def _macros() -> str:
    numbers: dict[str, list[int]] = {}
    reaches: dict[str, list[str]] = {}
    for number, macro in enumerate(MACROS, 1):
        numbers.setdefault(macro.name, []).append(number)
        reaches.setdefault(macro.name, []).append(macro.reach)
    rows = []
    for name, found in numbers.items():
        kinds = list(dict.fromkeys(reaches[name]))
        rows.append([f"{found[0]} ... {found[-1]}", f"`{name}`", ", ".join(kinds)])
    return _markdown(("actions", "edit", "reaches of each argument"), rows)


def _kinds() -> str:
    return _markdown(("row", "kind"), [[str(n), kind] for n, kind in enumerate(STATEMENT_KINDS)])


def _counts() -> str:
    return _markdown(("column", "what it is"), [[str(n), text] for n, text in enumerate(COUNTS)])


def _more(fields: tuple[Column, ...], first: int) -> Callable[[], str]:
    """The columns from `first` on."""

    def table() -> str:
        rows = [[str(n), f"`{f.name}`", f.unit, f.text] for n, f in enumerate(fields)]
        return _markdown(("column", "name", "unit", "what it is"), rows[first:])

    return table


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


def _columns(fields: tuple[Column, ...]) -> Callable[[], str]:
    return _more(fields, 0)


def _engines() -> str:
    return _markdown(("row", "engine"), [[str(n), e] for n, e in enumerate(PROFILE_ENGINES)])


def _keys(keys: tuple[Key, ...]) -> Callable[[], str]:
    def table() -> str:
        rows = [[f"`{key.name}`", key.dtype, key.shape, key.text] for key in keys]
        return _markdown(("key", "dtype", "shape", "what it is"), rows)

    return table


def _metrics() -> str:
    """The columns of METRICS, those of the cases in one row."""
    rows = [[str(n), f"`{f.name}`", f.unit, f.text] for n, f in enumerate(METRICS)]
    first = next(n for n, f in enumerate(METRICS) if f.name == "case_1")
    last = METRICS[-1]
    text = "speedup of the same kernel, case by case; 0 behind the last one"
    rows[first:] = [
        [f"{first} ... {len(METRICS) - 1}", f"`case_1` ... `{last.name}`", "log2", text]
    ]
    return _markdown(("column", "name", "unit", "what it is"), rows)


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
    "info": _keys(INFO),
    "metrics": _metrics,
    "sourceinfo": _keys(SOURCE_INFO),
    "newer": _newer,
    "macros": _macros,
    "uniformprogram": _more(UNIFORM_PROGRAM, len(PROGRAM)),
    "uniformcase": _columns(UNIFORM_CASE),
    "uniformchip": _more(UNIFORM_CHIP, len(CHIP)),
    "tensors": _columns(TENSOR),
    "kind": _columns(KIND),
    "kinds": _kinds,
    "node": _more(NODE[:1], 0),
    "edge": _columns(EDGE),
    "counts": _counts,
}
