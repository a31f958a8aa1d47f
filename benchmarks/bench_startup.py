"""What a newcomer waits for: `python benchmarks/bench_startup.py`.

Measures whole processes, each several times, and prints the median: `import m890sim`, the first
`m890 run` of a case with nothing compiled (an empty compile cache), the same with the cache filled,
and their peak memory. Ratios are against `python -c "import numpy"` in the same run.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

RUN = [sys.executable, "-m", "m890sim.cli", "run", "attention_expert", "--case", "prefill-1024"]


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Wall time of one process. Raises: CalledProcessError when it fails."""
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the table."""
    cached = tempfile.mkdtemp(prefix="m890-cache-")
    warm = os.environ | {"NUMBA_CACHE_DIR": cached}
    numpy = statistics.median(
        seconds([sys.executable, "-c", "import numpy"], warm) for _ in range(7)
    )
    rows = [("import numpy", numpy)]
    command = [sys.executable, "-c", "import m890sim"]
    rows.append(("import m890sim", statistics.median(seconds(command, warm) for _ in range(7))))
    cold = []
    for _ in range(5):
        with tempfile.TemporaryDirectory(prefix="m890-cold-") as empty:
            cold.append(seconds(RUN, os.environ | {"NUMBA_CACHE_DIR": empty}))
    rows.append(("first m890 run of a case, compilation included", statistics.median(cold)))
    seconds(RUN, warm)
    rows.append(("m890 run of a case", statistics.median(seconds(RUN, warm) for _ in range(5))))
    print(f"{'median of several processes':50s} {'seconds':>8s} {'x numpy':>8s}")
    for name, value in rows:
        print(f"{name:50s} {value:8.2f} {value / numpy:8.1f}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of any of them: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
