"""Gymnasium environments around the simulated chip: an action is an edit of a kernel.

The reward is the speedup that the edit brings. Imports m890sim, never the reverse. Importing this
package registers its environments with Gymnasium: `gym.make("m890_envs:M890/KernelEdit-v0")`.
"""

from __future__ import annotations

from m890_envs.env import KernelEditEnv, shared_memory
from m890_envs.registration import FIXED, GENERAL, IDS, register
from m890_envs.vector import KernelEditVectorEnv
from m890_envs.wrappers import MaskInObservation

__all__ = [
    "FIXED",
    "GENERAL",
    "IDS",
    "KernelEditEnv",
    "KernelEditVectorEnv",
    "MaskInObservation",
    "register",
    "shared_memory",
]

register()
