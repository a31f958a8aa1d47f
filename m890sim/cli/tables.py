"""`m890 chips` and `m890 isa`: the machine's own data as tables.

`m890 docs` writes the same rows into the manual.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, show
from m890sim.errors import ChipError

if TYPE_CHECKING:
    from m890sim.chip import ChipSpec
    from m890sim.isa import OpSpec

WIDE_COLUMNS = 110  # a narrower terminal shows a chip's numbers without their explanations

# Longest suffix first: the unit of a field is the end of its name.
UNITS = (
    ("bytes_per_cycle", "B/cycle"),
    ("elements_per_cycle", "elements/cycle"),
    ("rows_per_cycle", "rows/cycle"),
    ("cycles_per_row", "cycles/row"),
    ("lanes", "elements/cycle"),
    ("cycles", "cycles"),
    ("bytes", "B"),
)


def register(commands: Any) -> None:
    """Add the commands of this group."""
    chips = commands.add_parser(
        "chips",
        help="the chips and their numbers",
        description="The numbers of chips, the families that chips are drawn from, or one chip as "
        "TOML. CHIP: a preset, FAMILY:SPLIT:NUMBER or the path of a TOML file, which is checked.",
    )
    chips.add_argument("chip", nargs="*", metavar="CHIP", help="these chips (the presets)")
    how = chips.add_mutually_exclusive_group()
    how.add_argument("--families", action="store_true", help="the families and their ranges")
    how.add_argument("--draw", metavar="CHIP", help="print a chip as TOML, to save and change")
    chips.add_argument("--json", action="store_true", help=options.JSON)
    chips.set_defaults(handler=_chips)
    isa = commands.add_parser(
        "isa", help="the instruction set", description="The instructions, or one of them in full."
    )
    isa.add_argument("op", nargs="?", metavar="INSTRUCTION", help="show one instruction in full")
    isa.add_argument("--json", action="store_true", help=options.JSON)
    isa.set_defaults(handler=_isa)


def unit(field: str) -> str:
    """The unit of a ChipSpec field, from the end of its name; empty for plain counts."""
    return next((text for suffix, text in UNITS if field.endswith(suffix)), "")


def chip_rows(chips: list[ChipSpec], markdown: bool = False) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the chip table: one row a field, one column a chip."""
    rows = []
    for entry in dataclasses.fields(chips[0]):
        if entry.name == "name":
            continue
        name = f"`{entry.name}`" if markdown else entry.name
        values = [show.count(getattr(chip, entry.name)) for chip in chips]
        text = str(entry.metadata["text"])
        rows.append([name, *values, unit(entry.name), text, str(entry.metadata["source"])])
    return ["field", *(chip.name for chip in chips), "unit", "what it is", "source"], rows


def family_rows(markdown: bool = False) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the families: one row a family."""
    from m890sim.chip.families import FAMILIES

    rows = []
    for family in FAMILIES.values():
        own = "; ".join(
            f"{_range(name, markdown)}: {span.text}" for name, span in family.own.items()
        )
        name = f"`{family.name}`" if markdown else family.name
        rows.append([name, family.text, ", ".join(family.splits), own])
    return [
        "family",
        "what it is",
        "splits",
        "where it is not as `balanced`" if markdown else "where it is not as balanced",
    ], rows


def range_rows(markdown: bool = False) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the ranges of `balanced`: one row a quantity."""
    from m890sim.chip.families import BALANCED, QUANTITIES

    rows = []
    for name, quantity in QUANTITIES.items():
        field = f"`{quantity.field}`" if markdown else quantity.field
        rows.append([field, BALANCED[name].text, quantity.of or unit(quantity.field)])
    return ["field", "range", "in"], rows


def sanity_rows() -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the ratios of a sane machine: one row a ratio, one column a preset."""
    from m890sim.chip import CHIPS
    from m890sim.chip.sanity import BOUNDS, ratios

    found = {name: ratios(chip) for name, chip in CHIPS.items()}
    rows = [
        [
            name,
            sane.text,
            sane.below,
            sane.above or "-",
            *(f"{float(each[name]):.3g}" for each in found.values()),
        ]
        for name, sane in BOUNDS.items()
    ]
    return ["ratio", "sane", "irrelevant below", "irrelevant above", *found], rows


def _range(name: str, markdown: bool) -> str:
    """A quantity in a line of text: its field, and the unit where it is no field's own."""
    from m890sim.chip.families import QUANTITIES

    quantity = QUANTITIES[name]
    field = f"`{quantity.field}`" if markdown else quantity.field
    return f"{field} in {quantity.of}" if quantity.of else field


def op_rows(markdown: bool = False) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the instruction table: one row an instruction."""
    from m890sim.isa import OPS

    rows = []
    for op in OPS.values():
        signature = f"`{op.signature}`" if markdown else op.signature
        rows.append([signature, ", ".join(op.engines), op_cost(op), op.text])
    return ["call", "engine", "passes", "effect"], rows


def op_cost(op: OpSpec) -> str:
    """Passes over the elements: "1", "sfu 1, vector 6"; empty for DMA, matrix and fence."""
    if len(op.passes) == 1:
        return str(next(iter(op.passes.values())))
    return ", ".join(f"{engine} {passes}" for engine, passes in op.passes.items())


def op_details(op: OpSpec) -> dict[str, Any]:
    """One instruction as plain data."""
    return {
        "name": op.name,
        "call": op.signature,
        "family": op.family,
        "engines": list(op.engines),
        "passes": dict(op.passes),
        "extra_passes": {
            f"{engine} with {keyword}": n for (engine, keyword), n in op.extra_passes.items()
        },
        "operands": [
            {
                "name": operand.name,
                "shape": operand.shape,
                "role": operand.role,
                "spaces": list(operand.spaces),
                "value": operand.value,
                "keyword": operand.keyword,
                "transposable": operand.transposable,
            }
            for operand in op.operands
        ],
        "settings": [
            {
                "name": setting.name,
                "kind": setting.kind,
                "default": setting.default,
                "text": setting.text,
            }
            for setting in op.settings
        ],
        "text": op.text,
    }


def _chips(args: argparse.Namespace) -> int:
    from m890sim.chip import CHIPS, get_chip
    from m890sim.chip.files import chip_text
    from m890sim.chip.sanity import objections

    if args.families:
        return _families(args)
    names = [args.draw, *args.chip] if args.draw is not None else args.chip
    chips = [get_chip(name) for name in dict.fromkeys(names or CHIPS)]
    if args.json:
        found = [dataclasses.asdict(chip) | {"digest": chip.digest} for chip in chips]
        show.print_json({"chips": found})
        return 0
    if args.draw is not None:
        if args.chip:
            raise ChipError("--draw prints one chip as TOML; leave out the others")
        sys.stdout.write(chip_text(chips[0]))
        return 0
    columns, rows = chip_rows(chips)
    if show.console().width < WIDE_COLUMNS:
        columns, rows = columns[:-2], [row[:-2] for row in rows]
    show.print_table(columns, rows, text=("unit", "source"), wrap=("what it is",))
    print("The chips are fictional. source: design = fixed by the design, chosen = invented here.")
    for chip in chips:
        for line in objections(chip):
            print(f"{chip.name} is out of balance: {line}")
    if not args.chip:
        print("More of them: FAMILY:SPLIT:NUMBER (m890 chips --families) or a TOML file.")
    return 0


def _families(args: argparse.Namespace) -> int:
    if args.chip:
        raise ChipError("--families takes no chips; leave them out")
    tables = (family_rows(), range_rows())
    if args.json:
        made = [[dict(zip(columns, row, strict=True)) for row in rows] for columns, rows in tables]
        show.print_json({"families": made[0], "balanced": made[1]})
        return 0
    for columns, rows in tables:
        show.print_table(columns, rows, text=columns, wrap=columns[-1:])
    print("A chip of one: m890 chips FAMILY:SPLIT:NUMBER; as TOML: m890 chips --draw ...")
    return 0


def _isa(args: argparse.Namespace) -> int:
    from m890sim.isa import OPS

    if args.op is not None:
        if args.op not in OPS:
            raise unknown("instruction", args.op, OPS)
        details = op_details(OPS[args.op])
        if args.json:
            show.print_json(details)
        else:
            _print_op(details)
        return 0
    if args.json:
        show.print_json({"instructions": [op_details(op) for op in OPS.values()]})
        return 0
    columns, rows = op_rows()
    show.print_table(columns, rows, text=("engine", "passes"), wrap=("effect",))
    print("One instruction in full: m890 isa NAME")
    return 0


def _print_op(details: dict[str, Any]) -> None:
    print(f"{details['call']}\n  {details['text']}\n")
    rows = []
    for entry in details["operands"]:
        notes = [name for name in ("keyword", "transposable") if entry[name]]
        where = ", ".join(entry["spaces"]) + (", or a value" if entry["value"] else "")
        rows.append([entry["name"], entry["shape"], entry["role"], where, ", ".join(notes)])
    for entry in details["settings"]:
        default = "required" if entry["default"] is None else f"default {entry['default']}"
        rows.append([entry["name"], entry["kind"], default, "", entry["text"]])
    if rows:
        columns = ("operand", "shape", "role", "where", "notes")
        show.print_table(columns, rows, text=columns[:-1], wrap=("notes",))


def unknown(kind: str, name: str, known: Any) -> Exception:
    """The error for a name that is none of the known ones, with the nearest or all of them."""
    import difflib

    from m890sim.errors import TaskError

    near = difflib.get_close_matches(name, list(known), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return TaskError(f"unknown {kind} {name!r}; {hint}")
