"""`--set NAME=NUMBER`: other values of a kernel's tunables, for one command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from m890sim.errors import TaskError
from m890sim.messages import described

if TYPE_CHECKING:
    from m890sim.kernel.ir import Kernel

MOST_DIGITS = 20  # more is beyond every limit, and Python refuses to read thousands


def add_set_option(
    parser: argparse.ArgumentParser, flag: str = "--set", kernel: str = "the kernel"
) -> None:
    """The option of commands that read a kernel; `settings`, or `settings_x` of `--set-x`."""
    parser.add_argument(
        flag,
        metavar="NAME=N",
        action="append",
        default=[],
        dest=flag.removeprefix("--").replace("set", "settings", 1).replace("-", "_"),
        help=f"give a Tunable of {kernel} another value; may be given again; the file stays",
    )


def with_settings(kernel: Kernel, settings: Sequence[str]) -> Kernel:
    """The kernel with tunables as `NAME=NUMBER` says, checked anew.

    Raises: TaskError for what cannot be set, with what can; LanguageError or LimitError where the
    language refuses the kernel with these values.
    """
    if not settings:
        return kernel
    from m890sim.language import check
    from m890sim.workloads.fitting import with_tunables

    values: dict[str, int] = {}
    for text in settings:
        name, value = _read(text, kernel)
        if name in values:
            raise TaskError(f"--set {name} is given twice; leave one out")
        values[name] = value
    changed = with_tunables(kernel, values)
    check(changed)
    return changed


def _read(text: str, kernel: Kernel) -> tuple[str, int]:
    """The name and the value of one setting."""
    name, sign, number = text.partition("=")
    name, number = name.strip(), number.strip()
    if not sign or not name:
        raise TaskError(f"--set takes NAME=NUMBER, not {described(text)}; {_can_be_set(kernel)}")
    if name not in kernel.tunables:
        kinds = {param.name: param.kind for param in kernel.params}
        if name in kinds or name in kernel.symbols:
            what = f"{name!r} is no Tunable: the case gives it"
        else:
            what = f"the kernel has no tunable {described(name)}"
        raise TaskError(f"--set: {what}; {_can_be_set(kernel)}")
    digits = number.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS):
        raise TaskError(f"--set {name} takes an integer, not {described(number)}")
    return name, int(number)


def _can_be_set(kernel: Kernel) -> str:
    named = ", ".join(f"{name} (now {value})" for name, value in kernel.tunables.items())
    if not named:
        return f"{kernel.name} has no Tunable parameter, so nothing can be set"
    return f"{kernel.name} takes {named}"
