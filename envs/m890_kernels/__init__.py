"""The taskset of `m890_envs.adapters.verifiers_taskset`, under a name that verifiers can import.

It takes tasksets from packages of one name alone: `vf-eval m890-kernels`.
"""

from m890_envs.adapters.verifiers_taskset import (
    KernelData,
    KernelState,
    KernelTask,
    KernelTaskConfig,
    KernelTaskset,
    KernelTasksetConfig,
    KernelToolset,
    NullHarness,
)

__all__ = [
    "KernelData",
    "KernelState",
    "KernelTask",
    "KernelTaskConfig",
    "KernelTaskset",
    "KernelTasksetConfig",
    "KernelToolset",
    "NullHarness",
]
