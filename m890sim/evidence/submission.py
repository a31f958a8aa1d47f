"""submit: a finished run as one file that holds all that is needed to verify it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m890sim.agents.chain import broken_link, canonical
from m890sim.agents.files import write_whole
from m890sim.agents.plan import FORMAT
from m890sim.agents.reading import MOST_BYTES, RunError
from m890sim.evidence.record import KIND, Record, read_record
from m890sim.kernel import digest
from m890sim.language import parse


def submit(run: Path, out: Path) -> Record:
    """Write the submission of a finished run; equal runs give equal bytes.

    Only what takes no time is checked: the files, the chain, that result and best kernel belong
    to the log. `verify` does the rest, here or wherever the file is read.
    Raises: RunError where the run has not ended, has no right kernel, or does not hold together.
    """
    record = read_record(run)
    data = pack(record)
    if out.is_symlink() or out.exists():
        raise RunError(f"{out} is there already; choose another file with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, data)
    return record


def pack(record: Record) -> bytes:
    """The bytes of a record's submission. Raises: RunError as `submit`."""
    path, result = record.path, record.result
    again = f"go on with m890 optimize --resume {path}"
    if result is None or result.get("interrupted") is not False:
        raise RunError(f"{path} has not ended; {again}")
    best: Any = result["best"]
    if best is None or record.best is None:
        raise RunError(f"{path} has no right kernel, so there is nothing to submit")
    broken = broken_link(record.manifest, record.lines)
    if broken is not None:
        raise RunError(f"{path}: evaluation {broken} does not follow from what stands before it")
    if result.get("chain") != record.head:
        raise RunError(f"{path}: the result belongs to another log; {again}")
    if digest(parse(record.best, filename="best.py")) != best["digest"]:
        raise RunError(f"{path}: best.py is not the kernel that the result names; {again}")
    calls = {} if record.calls is None else {"calls": record.calls}
    data = canonical(
        calls
        | {
            "kind": KIND,
            "format": FORMAT,
            "manifest": record.manifest,
            "log": record.lines,
            "best": record.best,
            "result": result,
            "chain": record.head,
        }
    )
    if len(data) > MOST_BYTES:
        raise RunError(f"{path} makes a submission of {len(data)} bytes, at most {MOST_BYTES}")
    return data + b"\n"
