"""A profile as plain data: what `m890 profile --json` prints. docs/profile.md names the fields."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from m890sim.profile.path import KINDS
from m890sim.timing import TIMING_VERSION

if TYPE_CHECKING:
    from m890sim.profile.measure import Profile


def as_data(profile: Profile, what_if: bool) -> dict[str, Any]:
    """One JSON object; floats are shares (0 to 1) or rates, all else integers and texts."""
    ends = [end for end in profile.cores if end]
    found: dict[str, Any] = {
        "kernel": profile.kernel.name,
        "case": profile.case.name,
        "task": profile.case.task,
        "chip": profile.chip.name,
        "timing_version": TIMING_VERSION,
        "cycles": profile.cycles,
        "instructions": profile.rows.timing.instructions,
        "cores": {
            "ends": list(profile.cores),
            "earliest": min(ends, default=0),
            "latest": max(ends, default=0),
            "spread": max(ends, default=0) - min(ends, default=0),
        },
        "engines": [asdict(engine) for engine in profile.engines],
        "rates": [asdict(rate) | {"share": rate.share} for rate in profile.rates],
        "hbm": {"bytes": profile.hbm_bytes, "least_bytes": profile.least_bytes},
        "roofline": asdict(profile.roofline),
        "lines": [_line(line) for line in profile.lines],
        "critical_path": _path(profile),
        "memory": [_memory(phase) for phase in profile.memory],
    }
    found["findings"] = _findings(found)
    if what_if:
        found["what_if"] = [asdict(one) for one in profile.what_if]
    return found


def _findings(data: dict[str, Any]) -> list[dict[str, Any]]:
    """What is slow, in words, and what that speaks for."""
    from m890sim.profile.findings import REASONS, findings
    from m890sim.profile.remedies import changes_for

    return [
        asdict(one) | {"text": REASONS[one.reason], "changes": list(changes_for(one.reason))}
        for one in findings(data)
    ]


def _line(line: Any) -> dict[str, Any]:
    data = asdict(line)
    data["waits_for"] = {str(number): cycles for number, cycles in line.waits_for.items()}
    return data | {"bound_by": line.bound_by, "waiting": line.waiting}


def _path(profile: Profile) -> dict[str, Any]:
    """The path by kind and by line, and its parts in order of time, alike neighbours joined."""
    kinds = dict.fromkeys(KINDS, 0)
    lines: dict[int, int] = {}
    parts: list[dict[str, Any]] = []
    for part in profile.critical_path:
        kinds[part.kind] += part.cycles
        lines[part.line] = lines.get(part.line, 0) + part.cycles
        parts.append(asdict(part))
        del parts[-1]["text"]
    ordered = sorted(lines.items(), key=lambda entry: -entry[1])
    return {
        "kinds": kinds,
        "lines": [{"line": line, "cycles": cycles} for line, cycles in ordered],
        "parts": parts,
    }


def _memory(phase: Any) -> dict[str, Any]:
    data = asdict(phase)
    data["collisions"] = [
        {"line": line, "bank": bank, "tiles": list(tiles)}
        for (line, bank), tiles in phase.collisions.items()
    ]
    data["cost"] = [{"line": line, "port_cycles": n} for line, n in phase.cost.items()]
    return data
