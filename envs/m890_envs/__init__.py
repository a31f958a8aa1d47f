"""Gymnasium environments around the simulated chip: an action is an edit of a kernel, or a text.

The reward is the speedup that it brings. Imports m890sim, never the reverse. Importing this
package registers its environments with Gymnasium: `gym.make("m890_envs:M890/KernelEdit-v0")`.
"""

from __future__ import annotations

from m890_envs.env import KernelEditEnv, shared_memory
from m890_envs.recording import record_episode
from m890_envs.registration import FIXED, GENERAL, GRAPH, IDS, MACRO, SOURCE, SUITE, register
from m890_envs.source import KernelSourceEnv
from m890_envs.suite import SuiteEnv
from m890_envs.vector import SuiteVector
from m890_envs.wrappers import FlatMaskedObservation, MaskInObservation

__all__ = [
    "FIXED",
    "FlatMaskedObservation",
    "GENERAL",
    "GRAPH",
    "IDS",
    "KernelEditEnv",
    "KernelSourceEnv",
    "MACRO",
    "MaskInObservation",
    "SOURCE",
    "SUITE",
    "SuiteEnv",
    "SuiteVector",
    "record_episode",
    "register",
    "shared_memory",
]

register()
