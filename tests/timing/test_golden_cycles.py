"""Golden cycles of every built-in kernel on every case of its task and every preset.

The same integers must come out on every machine and Python. A change here is a change of the timing
contract: raise TIMING_VERSION, renew the file with --update-golden, and read the difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from m890sim.chip import CHIPS
from m890sim.errors import BindError
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import KERNELS, get_task, load_kernel, simulate

GOLDEN = Path(__file__).parent / "golden" / "cycles.json"


def test_golden_cycles_of_all_kernels(golden: Callable[[Path, str], None]) -> None:
    cycles: dict[str, dict[str, dict[str, int | str]]] = {}
    for name, entry in KERNELS.items():
        cycles[name] = {}
        for chip in CHIPS.values():
            kernel = load_kernel(name, chip.name)
            row: dict[str, int | str] = {}
            for case in get_task(entry.task).cases:
                try:
                    timing = simulate(kernel, case, chip)
                    row[case.name] = timing.cycles
                except BindError as error:
                    row[case.name] = error.code  # does not fit this chip
            cycles[name][chip.name] = row
    text = json.dumps({"timing_version": TIMING_VERSION, "cycles": cycles}, indent=1) + "\n"
    golden(GOLDEN, text)
