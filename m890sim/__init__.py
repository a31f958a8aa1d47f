"""m890sim: a simulator of a fictional accelerator, kernels for it, and their judge.

The names below are the public API. They are looked up when first used, so that `import m890sim`
loads neither the parser nor the compiled timing engine.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m890sim.chip import draw_chip, get_chip
    from m890sim.judge import evaluate, judge_kernel
    from m890sim.kernel import print_kernel
    from m890sim.language import parse
    from m890sim.profile import profile_kernel
    from m890sim.session import KernelSession, apply, legal_edits
    from m890sim.workloads import (
        define_task,
        execute,
        get_task,
        load_kernel,
        register_task,
        simulate,
    )

__all__ = [
    "KernelSession",
    "apply",
    "define_task",
    "draw_chip",
    "evaluate",
    "execute",
    "get_chip",
    "get_task",
    "judge_kernel",
    "legal_edits",
    "load_kernel",
    "parse",
    "print_kernel",
    "profile_kernel",
    "register_task",
    "simulate",
]

_MODULES = {
    "KernelSession": "m890sim.session",
    "apply": "m890sim.session",
    "define_task": "m890sim.workloads",
    "evaluate": "m890sim.judge",
    "execute": "m890sim.workloads",
    "draw_chip": "m890sim.chip",
    "get_chip": "m890sim.chip",
    "get_task": "m890sim.workloads",
    "judge_kernel": "m890sim.judge",
    "legal_edits": "m890sim.session",
    "load_kernel": "m890sim.workloads",
    "parse": "m890sim.language",
    "print_kernel": "m890sim.kernel",
    "profile_kernel": "m890sim.profile",
    "register_task": "m890sim.workloads",
    "simulate": "m890sim.workloads",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'm890sim' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """`m890sim.execute` is the function, also after the subpackage of that name has been loaded.

    Loading a subpackage binds its name in the parent; a property keeps the name ours. `from
    m890sim.execute import run_kernel` is not affected.
    """

    @property
    def execute(self) -> Any:
        return __getattr__("execute")

    @execute.setter
    def execute(self, _module: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
