"""How unlike the chips of the families are: what wins on one of them, seen on the others.

    python benchmarks/chip_diversity.py [--task extend] [--chips 4] [--evaluations 150]

On m890 and on the first chips of every family (split test) it measures the task's expert, its
script of docs/scripts, the best kernel that the agent `annealing` finds on m890 and on the others
of the family, what that agent finds on the chip itself, and what each macro action earns: from the
reference, and after eight actions that a greedy climb makes on m890. The CSV file gets a line a
chip as it is done; chips that it has are not done again. `--no-runs` writes page and plot from the
lines that there are. `extend` takes about 20 seconds of processor time a chip.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from diversity.measuring import measure, setting_of, speedups_of
from diversity.report import HOME, page, plot
from diversity.rows import Row, read_rows, write_rows

from m890sim.chip import FAMILIES
from m890sim.workloads import get_task

ROOT = Path(__file__).resolve().parents[1]
SPLIT = "test"


class Store:
    """The rows that are measured, in their CSV file, and the best kernels, in a directory."""

    def __init__(self, options: argparse.Namespace) -> None:
        task = get_task(options.task)
        drawn = (f"{f}:{SPLIT}:{n}" for f in options.families for n in range(options.chips))
        self.names = [HOME, *drawn]
        self.path: Path = options.csv
        self.kernels: Path = options.kernels / setting_of(task, options.evaluations)
        self.rows: dict[str, Row] = {}
        self.others: list[Row] = []  # of other families or settings
        for row in read_rows(self.path):
            if row.setting != self.kernels.name or row.chip not in self.names:
                self.others.append(row)
            elif row.fresh:
                self.rows[row.chip] = row

    @property
    def found(self) -> list[Row]:
        """The rows that there are, in order."""
        return [self.rows[name] for name in self.names if name in self.rows]

    def keep(self, row: Row) -> None:
        """Take a row in, and write the file."""
        self.rows[row.chip] = row
        write_rows(self.path, [*self.found, *self.others])

    def complete(self, name: str) -> bool:
        """Whether all is measured on a chip."""
        return name in self.rows and list(self.rows[name].kin) == self.sisters(name)

    def kernel(self, name: str) -> str:
        """Text of the best kernel of a chip; "" where it is not there."""
        path = self._kernel_path(name)
        return path.read_text("utf-8") if path.exists() else ""

    def keep_kernel(self, name: str, text: str) -> None:
        """Write the best kernel of a chip."""
        self.kernels.mkdir(parents=True, exist_ok=True)
        self._kernel_path(name).write_text(text, encoding="utf-8", newline="\n")

    def sisters(self, name: str) -> list[str]:
        """The other chips of a chip's family."""
        family = name.partition(":")[0]
        return [n for n in self.names if n != name and n.partition(":")[0] == family]

    def _kernel_path(self, name: str) -> Path:
        return self.kernels / f"{name.replace(':', '-')}.py"


def measure_all(store: Store, options: argparse.Namespace) -> None:
    """Measure what is missing: chips, then the kernels of their sisters on each of them."""
    incomplete = [name for name in store.names if not store.complete(name)]
    if not incomplete:
        return
    wanted = {HOME, *incomplete}.union(*(store.sisters(name) for name in incomplete))
    missing = [n for n in store.names if n in wanted and not (n in store.rows and store.kernel(n))]
    home: tuple[Any, ...] = ()
    for batch in ([n for n in missing if n == HOME], [n for n in missing if n != HOME]):
        jobs = [(options.task, name, options.evaluations, *home) for name in batch]
        for row, kernel in run_jobs(measure, jobs, options.processes):
            store.keep_kernel(row.chip, kernel)
            store.keep(row)
            print(f"{row.chip}: agent {row.agent:.2f}x, {row.seconds:.0f} s", flush=True)
        home = (store.kernel(HOME), store.rows[HOME].climbed)
    for name in incomplete:
        if sisters := store.sisters(name):
            begin = time.process_time()
            kernels = {other: store.kernel(other) for other in sisters}
            row = store.rows[name]
            row.kin = speedups_of(options.task, name, kernels)
            row.seconds = round(row.seconds + time.process_time() - begin, 1)
            store.keep(row)


def run_jobs(work: Any, jobs: Sequence[tuple[Any, ...]], processes: int) -> Iterator[Any]:
    """Results as they come."""
    if processes == 1:
        yield from (work(*job) for job in jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from (job.result() for job in as_completed([pool.submit(work, *j) for j in jobs]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, and write the page and the plot."""
    options = parsed(arguments)
    store = Store(options)
    print(f"{len(store.found)} of {len(store.names)} chips are in {options.csv}")
    if not options.no_runs:
        measure_all(store, options)
    rows = store.found
    if HOME not in store.rows or len(rows) < 2:
        print("no page without m890 and a drawn chip")
        return 1
    command = "python benchmarks/chip_diversity.py"
    command += f" --task {options.task} --chips {options.chips} --evaluations {options.evaluations}"
    text = page(rows, command, options.csv, options.plot, SPLIT)
    options.page.write_text(text, encoding="utf-8", newline="\n")
    options.plot.write_text(plot(rows), encoding="utf-8", newline="\n")
    print(f"wrote {options.page} and {options.plot}")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    docs = ROOT / "docs"
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", default="extend", help="a task's name")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--chips", type=int, default=4, help="of each family")
    parser.add_argument("--evaluations", type=int, default=150, help="of the agent, on each chip")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--csv", type=Path, default=docs / "chip_diversity.csv")
    parser.add_argument("--page", type=Path, default=docs / "chip_diversity.md")
    parser.add_argument("--plot", type=Path, default=docs / "chip_diversity.svg")
    kernels = ROOT / "runs" / "chip_diversity"
    parser.add_argument("--kernels", type=Path, default=kernels, help="for the best kernels")
    parser.add_argument("--no-runs", action="store_true", help="write the page from what is there")
    found = parser.parse_args(arguments)
    for name, most in (("chips", 1000), ("evaluations", 100_000), ("processes", 1024)):
        if not 1 <= getattr(found, name) <= most:
            parser.error(f"--{name} must be 1 ... {most:,}, not {getattr(found, name)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
