"""The GEMMs of attention in SCALE-Sim: one 128x128 weight-stationary array, cycles and no values.

SCALE-Sim knows GEMMs and convolutions, so the softmax is not in its count. With
--mode gemm:M,N,K[;M,N,K...] it counts those plain GEMMs instead and reports each one's cycles.
"""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from pathlib import Path

from protocol import emit, measure, read_work
from scalesim.scale_sim import scalesim

# A word is one byte in SCALE-Sim, and half of a buffer is active while the other half fills.
CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight: 128
ArrayWidth: 128
IfmapSramSzkB: 512
FilterSramSzkB: 512
OfmapSramSzkB: 512
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: ws
Bandwidth: 64
ReadRequestBuffer: 512
WriteRequestBuffer: 512
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 128
IfmapSRAMBankNum: 16
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 128
FilterSRAMBankNum: 16
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def simulate(gemms: list[tuple[int, int, int]]) -> list[dict[str, int]]:
    """Cycles of each GEMM (M, N, K).

    `compute` is the array's count, `stall` its waiting for memory, and `with_dram` runs from the
    first read of DRAM to the last write.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scale.cfg").write_text(CONFIG)
        layers = [f"gemm{i},{m},{n},{k}," for i, (m, n, k) in enumerate(gemms)]
        (folder / "gemms.csv").write_text("\n".join(["Layer,M,N,K,", *layers]) + "\n")
        # A layout has to be given, one row a layer, though this configuration uses none.
        layouts = [f"gemm{i}," + "1," * 20 for i in range(len(gemms))]
        (folder / "layout.csv").write_text("\n".join(["Layer," * 21, *layouts]) + "\n")
        with contextlib.redirect_stdout(io.StringIO()):
            simulator = scalesim(
                save_disk_space=True,  # no trace files: they would take longer than the simulation
                verbose=False,
                config=str(folder / "scale.cfg"),
                topology=str(folder / "gemms.csv"),
                layout=str(folder / "layout.csv"),
                input_type_gemm=True,
            )
            simulator.run_scale(top_path=str(folder / "out"))
        with open(folder / "out" / "run" / "COMPUTE_REPORT.csv", newline="") as report:
            rows = list(csv.DictReader(report, skipinitialspace=True))
    return [
        {
            "compute": int(float(row["Total Cycles"])),
            "stall": int(float(row["Stall Cycles"])),
            "with_dram": int(float(row["Total Cycles (incl. prefetch)"])),
        }
        for row in rows
    ]


def main() -> None:
    """Count the work's GEMMs: scores = Q K^T and P V, once a head."""
    work = read_work()
    if work.mode.startswith("gemm:"):
        gemms = [tuple(int(n) for n in part.split(",")) for part in work.mode[5:].split(";")]
        emit("gemms", gemms=simulate(gemms))
        return
    gemms = [(work.tokens, work.tokens, work.d), (work.tokens, work.d, work.tokens)] * work.heads
    counts: list[dict[str, int]] = []

    def call() -> None:
        counts[:] = simulate(gemms)

    measure(work, call, lambda: {"cycles": sum(c["compute"] for c in counts)})


if __name__ == "__main__":
    main()
