"""A profile as a session tells it, and the edits that it orders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from m890sim.chip import ChipSpec
from m890sim.kernel.ir import Kernel
from m890sim.profile import Profile, profile_kernel
from m890sim.profile.proposals import proposals
from m890sim.profile.suggest import Candidate
from m890sim.workloads import Case, Task

_LINES, _PATH, _WHAT_IFS = 14, 8, 8  # rows that are told as text; the data hold all lines


def profile_text(
    kernel: Kernel, source: str, case: Case, chip: ChipSpec
) -> tuple[str, dict[str, Any]]:
    """A profile for reading, and its data without the parts of the path, which are many."""
    profile = profile_kernel(kernel, case, chip, source=source)
    data = profile.to_json()
    data["critical_path"].pop("parts", None)
    return _text(profile, data), data


def _text(profile: Profile, data: dict[str, Any]) -> str:
    whole = max(1, profile.cycles)
    source = profile.source.splitlines()

    def line_of(number: int) -> str:
        text = source[number - 1].strip() if 0 < number <= len(source) else ""
        return f"line {number}: {text[:90]}" if number else "no line of the text"

    lines = [
        f"{profile.case.name}: {profile.cycles:,} cycles, {data['instructions']:,} instructions.",
        "Engines, share of their time over all cores:",
    ]
    for engine in profile.engines:
        total = max(1, sum(engine.causes.values()))
        parts = sorted(engine.causes.items(), key=lambda each: -each[1])[:5]
        words = ", ".join(f"{cause} {cycles / total:.0%}" for cause, cycles in parts)
        lines.append(f"    {engine.name}: {words}")
    rates = ", ".join(f"{rate.name} {rate.share:.0%}" for rate in profile.rates)
    lines.append(f"Of the peak rates: {rates}.")
    if profile.least_bytes:
        lines.append(
            f"HBM: {profile.hbm_bytes:,} bytes moved, any kernel must move {profile.least_bytes:,}."
        )
    kinds = data["critical_path"]["kinds"].items()
    words = ", ".join(f"{k} {c / whole:.0%}" for k, c in sorted(kinds, key=lambda e: -e[1]) if c)
    lines.append(f"The critical path: {words}. Its lines:")
    for each in data["critical_path"]["lines"][:_PATH]:
        lines.append(f"    {each['cycles'] / whole:.0%} {line_of(each['line'])}")
    lines.append("Lines by their engine's time (all cores), and what they wait for most:")
    shown = sorted(data["lines"], key=lambda each: -each["cycles"])[:_LINES]
    for each in shown:
        stalls = sorted(each["stalls"].items(), key=lambda stall: -stall[1])[:2]
        waits = ", ".join(f"waits {cycles:,} for {cause}" for cause, cycles in stalls if cycles)
        lines.append(
            f"    {each['engine']} {each['cycles']:,} cycles at work, {line_of(each['line'])}"
            + (f"; {waits}" if waits else "")
        )
    lines.append("What would help, each measured by a run (cycles saved):")
    for each in data["what_if"][:_WHAT_IFS]:
        lines.append(f"    {each['saved']:,} ({each['saved'] / whole:.0%}) {each['change']}")
    return "\n".join(lines)


def suggested(
    kernel: Kernel, source: str, case: Case, task: Task, chip: ChipSpec
) -> Iterator[Candidate]:
    """Kernels that edits make, in the order of what the profile finds."""
    return proposals(profile_kernel(kernel, case, chip, source=source), task)
