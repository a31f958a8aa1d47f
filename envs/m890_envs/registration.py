"""The ids: one for any task, one that draws tasks, and fixed ones for comparisons."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from m890sim.workloads import LEVELS

ENTRY_POINT = "m890_envs.env:KernelEditEnv"
SOURCE_ENTRY_POINT = "m890_envs.source:KernelSourceEnv"
SUITE_ENTRY_POINT = "m890_envs.suite:SuiteEnv"
SUITE_VECTOR_ENTRY_POINT = "m890_envs.vector:SuiteVector"
# A new edit changes no fixed id: they have the actions of the edits that there were.
EDITS: dict[str, Any] = {"chip": "m890", "action_rows": 113}
ATTENTION: dict[str, Any] = {**EDITS, "horizon": 512, "budget": 432, "sites": 128}
SMALL: dict[str, Any] = {**EDITS, "horizon": 64, "budget": 48, "sites": 64}

# Cases are named, so that a task which gains a case does not change a comparison.
FIXED: dict[str, dict[str, Any]] = {
    "M890/Extend-v1": {
        "task": "extend",
        "cases": (
            "prefill-256",
            "prefill-1024",
            "prefill-2048",
            "extend-1920+128",
            "extend-ragged",
            "extend-512+512",
        ),
        "shown": "extend-512+512",
        **ATTENTION,
    },
    "M890/Decode-v1": {
        "task": "decode",
        "cases": ("decode-4x8192", "decode-ragged", "decode-1x16384"),
        "shown": "decode-ragged",
        **ATTENTION,
    },
    "M890/Prefill-v1": {"task": "extend", "cases": ("prefill-256",), **ATTENTION},
    **{
        f"M890/{level.title}-v1": {"task": level.name, "cases": level.fixed_cases, **SMALL}
        for level in LEVELS.values()
    },
    "M890/AttentionHeadMini-v1": {
        "task": "attention_head",
        "cases": ("head-256", "head-330"),
        **SMALL,
        "chip": "m890-mini",
    },
}


def _beside(word: str, **changes: Any) -> dict[str, dict[str, Any]]:
    """An id beside every fixed one: `M890/<Task><word>-v0`."""
    return {
        f"{name.rpartition('-')[0]}{word}-v0": {**arguments, **changes}
        for name, arguments in FIXED.items()
    }


# Macro actions and observations of one set of shapes; single edits, none out of reach, on a graph.
MACRO = _beside("Macro", actions="macro", observation="uniform", sites=192)
GRAPH = _beside("Graph", observation="graph", sites=512)
GENERAL = "M890/KernelEdit-v0"
SUITE = "M890/Suite-v0"
ARGUMENTS: dict[str, dict[str, Any]] = {
    GENERAL: {},
    **FIXED,
    **MACRO,
    **GRAPH,
    SUITE: {"action_rows": EDITS["action_rows"]},
}
IDS = tuple(ARGUMENTS)  # whose actions are edits
SOURCE = "M890/KernelSource-v0"  # whose actions are texts


def register() -> None:
    """Tell Gymnasium about every id; once is enough, twice does no harm."""
    for name in IDS:
        if name not in gym.registry:
            gym.register(
                id=name,
                entry_point=SUITE_ENTRY_POINT if name == SUITE else ENTRY_POINT,
                vector_entry_point=SUITE_VECTOR_ENTRY_POINT if name == SUITE else None,
                kwargs=ARGUMENTS[name],
            )
    if SOURCE not in gym.registry:
        gym.register(id=SOURCE, entry_point=SOURCE_ENTRY_POINT)
