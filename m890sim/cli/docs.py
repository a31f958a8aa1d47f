"""`m890 docs`: the generated tables of the documents, made from the code.

A table stands between `<!-- generated: NAME -->` and `<!-- end generated -->`; `BLOCKS` says what
makes each.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from m890sim.cli import show
from m890sim.cli.files import read_text
from m890sim.errors import M890Error

RENEW = "python -m pytest -m golden --update-golden"  # these and every other file that is generated
MOST_DOCUMENT = 16 * 2**20  # bytes

_BLOCK = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z_ -]+?) -->\n).*?(?P<end><!-- end generated -->)", re.S
)
_MARKER = re.compile(r"<!-- (?:generated: [^>]*|end generated) -->")


def chip() -> str:
    """Every field of ChipSpec with its value on each preset."""
    from m890sim.chip import CHIPS
    from m890sim.cli.tables import chip_rows

    return show.markdown(*chip_rows(list(CHIPS.values()), markdown=True))


def families() -> str:
    """The families of chips."""
    from m890sim.cli.tables import family_rows

    return show.markdown(*family_rows(markdown=True))


def ranges() -> str:
    """The ranges of the family `balanced`."""
    from m890sim.cli.tables import range_rows

    return show.markdown(*range_rows(markdown=True))


def sanity() -> str:
    """The bounds of a sane machine, and where the presets lie."""
    from m890sim.cli.tables import sanity_rows

    return show.markdown(*sanity_rows())


def isa() -> str:
    """Every instruction."""
    from m890sim.cli.tables import op_rows

    return show.markdown(*op_rows(markdown=True))


def codes() -> str:
    """Every error code."""
    from m890sim.errors import CODES

    rows = [[f"`{code}`", CODES[code]] for code in sorted(CODES)]
    return show.markdown(["code", "what it means"], rows)


def warnings() -> str:
    """Every warning of `m890 check`."""
    from m890sim.errors import WARNINGS

    return show.markdown(["code", "what it means"], [[f"`{c}`", t] for c, t in WARNINGS.items()])


def idioms() -> str:
    """What numpy, torch and triton have, as lines of the language."""
    from m890sim.language.idioms import IDIOMS

    rows = [
        [
            ", ".join(f"`{name.lstrip('.')}`" for name in idiom.names),
            "; ".join(f"`{line}`" for line in idiom.lines),
            idiom.note,
        ]
        for idiom in IDIOMS
    ]
    return show.markdown(["name", "lines", "note"], rows)


def slots() -> str:
    """Cycles of the kernels `ring` and `two_slots` of docs/language.md."""
    from m890sim.chip import CHIPS
    from m890sim.language import parse
    from m890sim.timing import simulate_program

    text = (find_root() / "docs" / "language.md").read_text("utf-8")
    kernels = {
        kernel.name: kernel for kernel in map(parse, re.findall(r"```python\n(.*?)```", text, re.S))
    }
    rows = []
    for name, length in (("m890", 4096), ("m890-mini", 1024)):
        cycles = [
            simulate_program(kernels[kernel], CHIPS[name], {"T": length}, {}).cycles
            for kernel in ("ring", "two_slots")
        ]
        times = f"{cycles[0] / cycles[1]:.2f}x"
        rows.append([name, str(length), *map(show.count, cycles), times])
    return show.markdown(["chip", "T", "`ring`, cycles", "`two_slots`, cycles", "faster"], rows)


def tasks() -> str:
    """Every case of every task."""
    from m890sim.cli.case_tables import case_rows

    return show.markdown(*case_rows())


def more() -> str:
    """The further tasks."""
    from m890sim.cli.case_tables import more_rows

    return show.markdown(*more_rows(markdown=True))


def ladder() -> str:
    """The ladders of all tasks on the chip m890."""
    from m890sim.cli.ladder import markdown_ladders

    return markdown_ladders()


def edits() -> str:
    """Every edit."""
    from m890sim.schedule import EDITS

    return show.markdown(["edit", "effect"], [[f"`{e.name}`", e.text] for e in EDITS.values()])


def scripts() -> str:
    """What every line of docs/scripts/*.txt earns on the chip m890."""
    from m890sim.cli.scripts import markdown_scripts

    return markdown_scripts(find_root() / "docs" / "scripts")


def findings() -> str:
    """What a profile finds, and the remedies it speaks for."""
    from m890sim.profile.findings import REASONS
    from m890sim.profile.remedies import changes_for

    rows = [
        (f"`{reason}`", text, "; ".join(changes_for(reason)) or "no edit computes less")
        for reason, text in REASONS.items()
    ]
    return show.markdown(("finding", "what it means", "what it speaks for"), rows)


def agents() -> str:
    """Every search agent."""
    from m890sim.agents.registry import AGENTS, DEFAULT_AGENT

    rows = [
        [f"`{name}`", ("the default: " if name == DEFAULT_AGENT else "") + agent.text]
        for name, agent in AGENTS.items()
    ]
    return show.markdown(["agent", "what it does"], rows)


def levels() -> str:
    """The levels with their cases and cycles."""
    from m890sim.cli.levels import markdown_levels

    return markdown_levels()


def level_ladders() -> str:
    """The ladders of the levels on two presets."""
    from m890sim.cli.levels import markdown_level_ladders

    return markdown_level_ladders()


def worked() -> str:
    """A run of vector_add, instruction by instruction, as it is added up by hand."""
    from m890sim.cli.worked import markdown_worked

    return markdown_worked()


def steps() -> str:
    """The exercises."""
    from m890sim.cli.exercise_tables import step_rows

    return show.markdown(*step_rows())


def drawn() -> str:
    """What a student gets of their own."""
    from m890sim.cli.exercise_tables import drawn_rows

    return show.markdown(*drawn_rows())


def solutions() -> str:
    """What the model solutions of the exercises take."""
    from m890sim.cli.exercise_tables import solution_rows

    return show.markdown(*solution_rows())


def lessons() -> str:
    """What each level computes, and what there is to learn."""
    from m890sim.cli.levels import lesson_rows

    return show.markdown(*lesson_rows())


def lengths() -> str:
    """How long the hidden cases of the levels are."""
    from m890sim.cli.levels import length_rows

    return show.markdown(*length_rows())


def bounds() -> str:
    """What the lower bounds of the levels count."""
    from m890sim.cli.levels import bound_rows

    return show.markdown(*bound_rows())


BLOCKS: dict[str, Callable[[], str]] = {
    "chip": chip,
    "families": families,
    "ranges": ranges,
    "sanity": sanity,
    "isa": isa,
    "codes": codes,
    "warnings": warnings,
    "idioms": idioms,
    "slots": slots,
    "tasks": tasks,
    "more": more,
    "ladder": ladder,
    "levels": levels,
    "level-ladders": level_ladders,
    "worked": worked,
    "steps": steps,
    "drawn": drawn,
    "solutions": solutions,
    "lessons": lessons,
    "lengths": lengths,
    "bounds": bounds,
    "edits": edits,
    "agents": agents,
    "findings": findings,
    "scripts": scripts,
}


def register(commands: Any) -> None:
    """Add the command of this group."""
    docs = commands.add_parser(
        "docs",
        help="check the generated tables of the documents (in a checkout)",
        description="Compare the generated tables of README.md and docs/*.md with the code.",
    )
    docs.add_argument("--root", type=Path, default=None, help="the checkout (found by default)")
    docs.add_argument("--block", choices=list(BLOCKS), help="print this table and do nothing else")
    docs.set_defaults(handler=_docs)


def documents(root: Path) -> list[Path]:
    """The documents that may hold generated tables, in a fixed order."""
    candidates = (root / "README.md", *sorted((root / "docs").rglob("*.md")))
    return [path for path in candidates if path.is_file()]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Name and present content of every generated table of a document.

    Raises: M890Error for an unknown name, or a marker without its other half.
    """
    found = list(_BLOCK.finditer(text))
    if len(_MARKER.findall(text)) != 2 * len(found):
        raise M890Error(
            "a `<!-- generated: NAME -->` lacks its `<!-- end generated -->`, or the reverse"
        )
    for match in found:
        if match["name"] not in BLOCKS:
            known = ", ".join(BLOCKS)
            raise M890Error(f"no generated table is called {match['name']!r}; known: {known}")
        yield match["name"], match[0][len(match["begin"]) : -len(match["end"])]


def renew(text: str) -> str:
    """The document with every generated table made again. Raises: as `blocks`."""
    for _ in blocks(text):
        pass
    return _BLOCK.sub(
        lambda match: f"{match['begin']}\n{BLOCKS[match['name']]()}\n\n{match['end']}", text
    )


def find_root() -> Path:
    """The checkout that the working directory or this package lies in.

    Raises: M890Error where there is none, as in an installed wheel.
    """
    here = Path.cwd()
    for path in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (path / "docs").is_dir() and (path / "m890sim").is_dir():
            return path
    raise M890Error("no checkout of m890sim here; give its folder with --root")


def _docs(args: argparse.Namespace) -> int:
    if args.block:
        print(BLOCKS[args.block]())
        return 0
    root = args.root or find_root()
    stale = []
    for path in documents(root):
        text = read_text(path, MOST_DOCUMENT)
        try:
            made = renew(text)
        except M890Error as error:
            raise M890Error(f"{path.name}: {error}") from error
        if made != text:
            stale.append(path)
    for path in stale:
        print(f"stale: {path.relative_to(root)}")
    print("all generated tables are up to date" if not stale else f"renew them: {RENEW}")
    return 1 if stale else 0
