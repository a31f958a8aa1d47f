"""What editors see of the instructions: the functions in lang.py, made from the rows of OPS."""

from __future__ import annotations

import textwrap

from m890sim.isa import OPS, Operand, OpSpec

WIDTH = 100
BEGIN = "# ---- the instructions, generated from isa.OPS; renewed with the golden files ----\n"
# Functions of integers inside expressions that share their name with an instruction.
INTEGERS = {
    "max": "Inside an expression: the largest of two or more integers.",
    "min": "Inside an expression: the least of two or more integers.",
}
_TYPES = {"int": "int", "queue": "int", "bool": "bool"}  # of settings


def renewed(text: str) -> str:
    """lang.py with the instructions made again."""
    head = text.split(BEGIN)[0]
    return head + BEGIN + "\n\n" + "\n\n".join(_stub(row) for row in OPS.values())


def _stub(row: OpSpec) -> str:
    lines = textwrap.wrap(row.text, WIDTH - 4, initial_indent='"""', break_on_hyphens=False)
    notes = [f"{setting.name}: {setting.text}" for setting in row.settings]
    notes += [INTEGERS[row.name]] if row.name in INTEGERS else []
    if notes:
        lines += ["", *notes, '"""']
    elif len(lines[-1]) + 4 + 3 <= WIDTH and len(lines) == 1:
        lines[-1] += '"""'
    else:
        lines.append('"""')
    body = "".join(f"    {line}\n" if line else "\n" for line in [*lines, "_refuse()"])
    return f"{_signature(row)}\n{body}"


def _signature(row: OpSpec) -> str:
    """The line or lines of `def`, laid out as ruff does."""
    if row.name in INTEGERS:
        return f"def {row.name}(dst: Any, a: Any, b: Any = None, *more: int) -> Any:"
    given = [f"{o.name}: {_type(o)}" for o in row.operands if not o.keyword]
    named = [f"{o.name}: {_type(o)} | None = None" for o in row.operands if o.keyword]
    for setting in row.settings:
        default = "" if setting.default is None else f" = {setting.default}"
        named.append(f"{setting.name}: {_TYPES[setting.kind]}{default}")
    if len(row.engines) > 1:
        named.append(f"engine: Engine = {row.engines[0]}")
    parameters = [*given, *(["*", *named] if named else [])]
    one = f"def {row.name}({', '.join(parameters)}) -> None:"
    if len(one) <= WIDTH:
        return one
    inside = "    " + ", ".join(parameters)
    if len(inside) <= WIDTH:
        return f"def {row.name}(\n{inside}\n) -> None:"
    return f"def {row.name}(\n" + "".join(f"    {p},\n" for p in parameters) + ") -> None:"


def _type(operand: Operand) -> str:
    if operand.spaces == ("hbm",):
        return "Tensor"
    return "Value" if operand.value else "Tile"
