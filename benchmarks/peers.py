"""One attention shape, side by side: the tools that one would pick today, and the simulated chip.

    python benchmarks/peers.py [--shape heads,tokens,d] [--json FILE] [--cache DIR] [--limit N]

Attention without a mask; the same inputs for all, with values that bf16 holds exactly and logits
with a standard deviation of 2. Each tool runs in an environment of its own, made in the cache
folder at the first run. Errors are against a float64 result. A tool that can't be installed or
fails is reported as absent, with the reason; one that runs into the time limit as `over N s`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

# Its scripts are no package: they run alone.
sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from environments import PINS
from gemms import compare_gemms, show_gemms
from running import Peer, Result, run_peer

PALLAS = "attention_pallas.py"
OURS = Peer("m890", "m890sim", "", "attention_m890.py")
PEERS = (
    OURS,
    Peer("numpy", "NumPy, tiled by hand", "numpy", "attention_numpy.py", simulator=False),
    Peer("pallas", "Pallas interpret=True, jit", "jax", PALLAS, "resident:interpret"),
    Peer("pallas-streamed", "... keys streamed", "jax", PALLAS, "streamed:interpret"),
    Peer("pallas-eager", "... without jit", "jax", PALLAS, "resident:eager"),
    Peer("pallas-tpu", "Pallas TPU interpret mode", "jax", PALLAS, "resident:tpu"),
    Peer("pallas-tpu-streamed", "... keys streamed", "jax", PALLAS, "streamed:tpu"),
    Peer("pallas-races", "... race detection", "jax", PALLAS, "resident:tpu-races"),
    Peer("pallas-races-streamed", "... both", "jax", PALLAS, "streamed:tpu-races"),
    Peer("triton", "Triton's interpreter", "triton", "attention_triton.py"),
    Peer("scalesim", "SCALE-Sim 3.0.0, GEMMs only", "scalesim", "attention_scalesim.py"),
)
BUSY_LOAD = 0.5  # with more running beside it, a time says little


def make_inputs(heads: int, tokens: int, d: int, seed: int = 0) -> dict[str, np.ndarray]:
    """q, k, v: [heads, tokens, d] float32, rounded to bf16; logits with standard deviation 2."""
    random = np.random.default_rng(seed)

    def rounded(array: np.ndarray) -> np.ndarray:
        bits = array.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)

    q, k, v = (random.standard_normal((heads, tokens, d)) for _ in range(3))
    return {"q": rounded(2.0 * q), "k": rounded(k), "v": rounded(v)}


def exact_attention(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The float64 result, [heads, tokens, d]."""
    q, k, v = (inputs[name].astype(np.float64) for name in "qkv")
    result = np.empty_like(q)
    for h in range(len(q)):  # the scores of all at once: tokens**2 * heads * 8 bytes
        scores = q[h] @ k[h].T / math.sqrt(q.shape[2])
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        result[h] = p @ v[h] / p.sum(axis=1, keepdims=True)
    return result


def seconds(value: float | None, limit: float | None) -> str:
    """A time for the table."""
    if value is None:
        return "-" if limit is None else f"over {limit:g} s"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def show_results(results: list[Result], console: Console, title: str) -> None:
    """Print the table."""
    table = Table(title=title)
    table.add_column("tool", no_wrap=True)
    for name in ("warm", "ratio to ours", "cold", "largest error"):
        table.add_column(name, justify="right")
    table.add_column("gives")
    table.add_column("cycles", justify="right")
    ours = next((r.warm_s for r in results if r.peer is OURS), None)
    for r in results:
        if r.absent:
            table.add_row(r.peer.label, "absent", "", "", "", "", "")
            continue
        ratio = f"{r.at_least_s / ours:.2f}x" if ours and r.at_least_s else "-"
        if r.warm_s is None and ratio != "-":
            ratio = "over " + ratio
        table.add_row(
            r.peer.label,
            seconds(r.warm_s, r.over_limit_s),
            ratio,
            seconds(r.cold_s, r.over_limit_s),
            "-" if r.max_error is None else f"{r.max_error:.1e}",
            r.gives,
            "-" if r.cycles is None else f"{r.cycles:,}",
        )
    console.print(table)
    for r in results:
        if r.absent:
            say(console, f"{r.peer.key} is absent: {r.absent}")
    busy = max(r.load_before for r in results)
    if busy > BUSY_LOAD * (os.cpu_count() or 1):
        say(console, f"The machine was busy (load {busy:.1f} before a tool): times are rough.")


def say(console: Console, text: str) -> None:
    """Print plain text, lines as they are."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def conclusions(results: list[Result]) -> list[str]:
    """What this run, and nothing else, says about the claims: one sentence each."""
    ours = next((r for r in results if r.peer is OURS), None)
    others = [r for r in results if r.peer is not OURS and not r.absent]
    if ours is None or ours.warm_s is None or ours.gives != "both":
        return ["m890sim did not give values and cycles in this run, so nothing is claimed."]
    said = []
    twins = [r.peer.key for r in others if r.gives == "both"]
    if twins:
        said.append(f"Values and cycles in one run: also {', '.join(twins)}.")
    elif others:
        said.append("Of the tools that ran, m890sim alone gives both values and cycles.")
    timed = [(r.peer.key, r.at_least_s) for r in others if r.peer.simulator]
    times = sorted((t, key) for key, t in timed if t is not None)
    ahead = [f"{key} ({seconds(t, None)})" for t, key in times if t <= ours.warm_s]
    if ahead:
        said.append(
            f"m890sim ({seconds(ours.warm_s, None)}) is not faster than every other simulator or "
            f"interpreter: {', '.join(ahead)} took less, {len(times) - len(ahead)} took longer."
        )
    elif times:
        said.append(
            "m890sim is faster than every other simulator and interpreter that ran: the nearest, "
            f"{times[0][1]}, takes {times[0][0] / ours.warm_s:.1f} times as long."
        )
    plain = next((r.warm_s for r in others if not r.peer.simulator), None)
    if plain:
        said.append(
            f"Values and cycles take {ours.warm_s / plain:.1f} times as long as NumPy's own tiled "
            "flash attention takes for the values."
        )
    return said


NOTES = """\
How it was measured. The tools ran one after another, each alone in a process of its own, all on
the same --threads processors, with as many BLAS and OpenMP threads. Warm is the fastest call after
the first, up to --repeats of them; cold runs from the start of the process to the first result,
with imports and compilation. m890sim computes with the chip's bf16 operands and fp32 sums, which
makes its error; the others in float32. It simulates its kernel anew in each call: the values, and
the cycles of all 16 cores with launch and HBM. 128x128 blocks everywhere.
- Pallas interpret=True under jit is compiled by XLA: what runs warm is machine code for the CPU,
  with no machine model in it. Without jit, a plain function builds, traces and compiles it in each
  call. The TPU interpret mode models memories, transfers and semaphores. Keys streamed: the grid
  brings keys a block at a time; otherwise all keys of a head are one block, which suits an
  interpreter better.
- Triton's interpreter runs float32: its bf16 dot product gave wrong values in this version.
- SCALE-Sim counts the two GEMMs of each head, one head after another, on one 128x128 array. It
  knows no softmax, no launch and no second core, and computes no values."""


def shape_of(text: str) -> tuple[int, int, int]:
    """`heads,tokens,d` as three positive integers."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(
            f"must be heads,tokens,d, three positive integers, not {text!r}"
        )
    return int(parts[0]), int(parts[1]), int(parts[2])


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape", type=shape_of, default=(8, 1024, 64), help="heads,tokens,d (default 8,1024,64)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument(
        "--cache", type=Path, default=base / "m890sim-peers", help="folder of the environments"
    )
    parser.add_argument(
        "--limit", type=float, default=300.0, help="seconds for each tool (default 300)"
    )
    parser.add_argument("--repeats", type=int, default=10, help="warm calls at most (default 10)")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="processors and BLAS threads for each tool (default 1)",
    )
    parser.add_argument("--only", help="comma-separated: " + ", ".join(peer.key for peer in PEERS))
    parser.add_argument("--no-gemm", action="store_true", help="leave out the plain GEMMs")
    options = parser.parse_args(arguments)
    known = {peer.key for peer in PEERS}
    wanted = set(options.only.split(",")) if options.only else known
    if wanted - known:
        parser.error(
            f"--only does not know {', '.join(sorted(wanted - known))}; "
            f"it knows {', '.join(peer.key for peer in PEERS)}"
        )
    options.peers = [peer for peer in PEERS if peer.key in wanted]
    options.cache = options.cache.expanduser().resolve()
    return options


def main() -> int:
    """Run the comparison."""
    options = read_options()
    # The same processors for every tool: XLA would take all of them, whatever --threads says.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    # Ends through the handlers that stop a running tool, instead of leaving it behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    console = Console()
    if not console.is_terminal:  # a file or a pipe: a width that shows the tables whole
        console = Console(width=120)
    heads, tokens, d = options.shape
    inputs = make_inputs(heads, tokens, d)
    exact = exact_attention(inputs)
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **inputs)
        for peer in options.peers:
            print(f"running {peer.key} ...", file=sys.stderr, flush=True)
            results.append(run_peer(peer, folder, exact, options))
        gemms = None if options.no_gemm else compare_gemms(options.shape, folder, options)
    show_results(results, console, f"attention, {heads} heads, {tokens} tokens, d={d}, no mask")
    said = conclusions(results)
    for text in [*said, NOTES]:
        say(console, text)
    if gemms is not None:
        show_gemms(gemms, console)
    if options.json:
        record = {
            "shape": {"heads": heads, "tokens": tokens, "d": d},
            "machine": {
                "python": platform.python_version(),
                "system": platform.platform(),
                "cpus": os.cpu_count(),
            },
            "limit_s": options.limit,
            "pins": PINS,
            "results": [r.as_json() for r in results],
            "gemms": gemms,
            "conclusions": said,
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
