"""The kill table: every mutant against every net of the judge.

    python -m tests.mutants.table [--processes 2] [--again | --elsewhere]

Adds what is missing to tests/mutants/kills.csv (--again: starts anew) and writes the tables of
docs/mutants.md. The suite tries the nets that the file names, cheapest first.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from m890sim.kernel import digest
from m890sim.workloads import get_task
from tests.mutants.bank import BANK, Mutant
from tests.mutants.bases import SMALL, base
from tests.mutants.elsewhere import passes
from tests.mutants.nets import (
    ALGEBRA,
    HIDDEN,
    MAXIMA,
    NETS,
    STRUCTURE,
    TRAINING,
    catches,
    numbers,
)

ROOT = Path(__file__).resolve().parents[2]
KILLS = Path(__file__).with_name("kills.csv")
DOCUMENT = ROOT / "docs" / "mutants.md"
COLUMNS = ("mutant", "digest", "nets", "elsewhere")
# What SGLang's test of the task says: it would pass, it would fail, or it can't be asked.
PASSES, FAILS, NOT_ASKED = "passes", "fails", ""

Row = dict[str, str]


def measure(name: str) -> Row:
    """One mutant against every net; `nets` holds `net@case` in the order of `NETS`."""
    mutant = BANK[name]
    kernel, task = mutant.kernel(), mutant.task
    found = {
        catch.net: catch.case
        for catch in sorted(numbers(kernel, task, SMALL[task], None), key=lambda catch: catch.net)
    }
    for net in (MAXIMA, ALGEBRA, HIDDEN, TRAINING):
        if STRUCTURE in found and net in (MAXIMA, ALGEBRA):
            continue  # there are no values to look at
        case = catches(kernel, task, net)
        if case:
            found[net] = case
    if not set(found) - {TRAINING}:
        for catch in numbers(kernel, task, get_task(task).cases, None):
            found[catch.net] = catch.case
    nets = ";".join(f"{net}@{found[net]}" for net in NETS if net in found)
    return dict(zip(COLUMNS, (name, digest(kernel), nets, _elsewhere(mutant)), strict=True))


def _elsewhere(mutant: Mutant) -> str:
    if mutant.task not in ("extend", "decode") or not _base_passes(mutant.base):
        return NOT_ASKED
    return PASSES if passes(mutant.kernel(), mutant.task) else FAILS


@cache
def _base_passes(name: str) -> bool:
    return passes(base(name), BANK[next(n for n in BANK if n.startswith(f"{name}/"))].task)


def ask_elsewhere(row: Row) -> Row:
    """The row of one mutant with its last column alone measured anew."""
    return row | {"elsewhere": _elsewhere(BANK[row["mutant"]])}


def read() -> dict[str, Row]:
    """The rows of the file by mutant."""
    if not KILLS.exists():
        return {}
    with KILLS.open(encoding="utf-8", newline="") as stream:
        return {row["mutant"]: row for row in csv.DictReader(stream)}


def write(rows: dict[str, Row]) -> None:
    """The file, in the bank's order."""
    with KILLS.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in BANK if name in rows)


def nets_of(row: Row) -> dict[str, str]:
    """Net -> case of the nets that catch a mutant, in the order of `NETS`."""
    return dict(entry.split("@") for entry in row["nets"].split(";") if entry)


# ---- the document ----


def _share(names: Iterable[bool]) -> str:
    flags = list(names)
    return f"{sum(flags)} of {len(flags)}"


def summary(rows: dict[str, Row]) -> str:
    """Mutants by family: how many, how many the training gate and others' tests catch."""
    lines = [
        "| family | mutants | tiny in effect | caught by the judge | by the training gate alone "
        "| passed by SGLang's tests |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    families = list(dict.fromkeys(mutant.operator.family for mutant in BANK.values()))
    for family in [*families, "all"]:
        names = [n for n, m in BANK.items() if family in ("all", m.operator.family)]
        nets = [nets_of(rows[name]) for name in names]
        asked = [rows[name]["elsewhere"] for name in names if rows[name]["elsewhere"]]
        lines.append(
            f"| {family} | {len(names)} | {sum(BANK[n].tiny for n in names)} "
            f"| {_share(bool(set(n) - {TRAINING}) for n in nets)} "
            f"| {_share(TRAINING in n for n in nets)} "
            f"| {_share(verdict == PASSES for verdict in asked) if asked else '-'} |"
        )
    return "\n".join(lines)


def by_net(rows: dict[str, Row]) -> str:
    """How many mutants each net catches, and which ones it alone does."""
    every = {name: set(nets_of(row)) - {TRAINING} for name, row in rows.items()}
    lines = ["| net | catches | catches alone |", "| --- | --- | --- |"]
    for net in NETS:
        if net == TRAINING:
            continue
        alone = [name for name, nets in every.items() if nets == {net}]
        shown = ", ".join(f"`{name}`" for name in alone) or "-"
        lines.append(f"| {net} | {sum(net in nets for nets in every.values())} | {shown} |")
    return "\n".join(lines)


def every_mutant(rows: dict[str, Row]) -> str:
    """The table: a line a mutant, a column a net."""
    head = [*NETS, "SGLang"]
    lines = [
        "| mutant | what is wrong | " + " | ".join(head) + " |",
        "| --- | --- |" + " --- |" * len(head),
    ]
    for name, mutant in BANK.items():
        row = rows[name]
        nets = nets_of(row)
        marks = ["x" if net in nets else "" for net in NETS]
        tiny = " (tiny)" if mutant.tiny else ""
        cells = " | ".join([*marks, row["elsewhere"]])
        lines.append(f"| `{name}`{tiny} | {mutant.operator.text} | {cells} |")
    return "\n".join(lines)


def renew(text: str, rows: dict[str, Row]) -> str:
    """The document with its tables made again."""
    for name, table in (("summary", summary), ("nets", by_net), ("mutants", every_mutant)):
        pattern = rf"(<!-- mutants: {name} -->\n).*?(<!-- end mutants -->)"
        text = re.sub(pattern, lambda m, t=table: f"{m[1]}\n{t(rows)}\n\n{m[2]}", text, flags=re.S)
    return text


def main() -> int:
    """Measure, write, and say what survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure every mutant anew")
    parser.add_argument("--elsewhere", action="store_true", help="and the last column of all")
    arguments = parser.parse_args()
    rows = {} if arguments.again else read()
    todo = [n for n, m in BANK.items() if n not in rows or rows[n]["digest"] != digest(m.kernel())]
    again = [n for n in BANK if n not in todo] if arguments.elsewhere else []
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(measure, name) for name in todo]
        jobs += [pool.submit(ask_elsewhere, rows[name]) for name in again]
        for count, done in enumerate(as_completed(jobs), 1):
            row = done.result()
            rows[row["mutant"]] = row
            write(rows)
            print(f"{count}/{len(jobs)} {row['mutant']}: {row['nets'] or 'SURVIVES'}", flush=True)
    if DOCUMENT.exists():
        DOCUMENT.write_text(renew(DOCUMENT.read_text(encoding="utf-8"), rows), encoding="utf-8")
    survivors = [name for name in BANK if not set(nets_of(rows[name])) - {TRAINING}]
    print("surviving:", ", ".join(survivors) or "none")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
