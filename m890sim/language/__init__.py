"""The tile language: text to IR (`parse`) and the rules that every kernel keeps (`check`).

A kernel file is data: it is read through Python's `ast` against a whitelist and never executed.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter, is_not
from pathlib import Path, PurePath

from m890sim.errors import Diagnostic, LanguageError
from m890sim.kernel import ir
from m890sim.language.checker import check_kernel
from m890sim.language.limits import DEFAULT_LIMITS, Limits
from m890sim.language.reader import read_kernel
from m890sim.language.report import Report
from m890sim.language.sizes import measure_known
from m890sim.language.warnings import text_warnings
from m890sim.messages import described, shown

__all__ = [
    "DEFAULT_LIMITS",
    "Limits",
    "check",
    "check_built",
    "check_size",
    "find_warnings",
    "load_kernel",
    "parse",
]

FILENAME = 300  # characters of a file's name in messages and in `Kernel.filename`


def parse(
    text: str | bytes, filename: str = "<kernel>", limits: Limits = DEFAULT_LIMITS
) -> ir.Kernel:
    """The kernel that a text holds, checked.

    Raises: LanguageError with every error of the text, LimitError for a text beyond a limit,
    TypeError for what is no text.
    """
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"text must be a str or bytes, not {described(text)}")
    if not isinstance(filename, str):
        raise TypeError(f"filename must be a text, not {described(filename)}")
    _check_limits(limits)
    report = Report(shown(filename, FILENAME))
    kernel = read_kernel(text, report, limits)
    if kernel is not None:
        check_kernel(kernel, report, limits)
    report.raise_errors()
    if kernel is None:  # pragma: no cover - the report holds the reason
        raise ValueError("no kernel and no error")
    if limits is DEFAULT_LIMITS:
        _remember(kernel)
    return kernel


def check(kernel: ir.Kernel, limits: Limits = DEFAULT_LIMITS) -> None:
    """Whether a kernel keeps every rule of the language, also one that was built by code.

    Raises: LanguageError with every error, LimitError for a kernel beyond a limit, TypeError for
    what is no Kernel or has parts of types that no kernel has.
    """
    _check_limits(limits)
    if type(kernel) is not ir.Kernel:
        raise TypeError(f"kernel must be a Kernel, not {described(kernel)}")
    report = Report(shown(kernel.filename, FILENAME) if type(kernel.filename) is str else "")
    check_kernel(kernel, report, limits)
    report.raise_errors()
    if limits is DEFAULT_LIMITS:
        _remember(kernel)


def check_built(kernel: ir.Kernel) -> None:
    """`check` of a kernel that code may have built; at no cost for one that was checked before.

    Raises: as `check`.
    """
    known = _CHECKED.get(id(kernel))
    if known is None or known[0] is not kernel or any(map(is_not, known[1], _parts(kernel))):
        check(kernel)


def find_warnings(kernel: ir.Kernel) -> list[Diagnostic]:
    """What a kernel says in vain, W1xx of `errors.WARNINGS`, in the order of its text.

    What needs a chip and a case is found by `m890sim.bind.warnings.launch_warnings`.
    Raises: as `check`.
    """
    check_built(kernel)
    return text_warnings(kernel)


# Kernels that were parsed or checked lately, with their fields: who walks through kernels hands in
# the same ones again and again. id -> (the kernel, kept alive; its fields).
_CHECKED: dict[int, tuple[ir.Kernel, tuple[object, ...]]] = {}
_MOST_CHECKED = 512
_parts = attrgetter(*(entry.name for entry in fields(ir.Kernel)))


def _remember(kernel: ir.Kernel) -> None:
    if len(_CHECKED) >= _MOST_CHECKED:
        _CHECKED.clear()
    _CHECKED[id(kernel)] = (kernel, _parts(kernel))


def _check_limits(limits: Limits) -> None:
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits, not {described(limits)}")


def check_size(kernel: ir.Kernel, limits: Limits = DEFAULT_LIMITS) -> None:
    """Whether a kernel is within the limits on its size; a part of `check`. Raises: LimitError."""
    measure_known(kernel, limits)


def load_kernel(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> ir.Kernel:
    """The kernel in a file, checked.

    Raises: LanguageError with every error (E100: the file cannot be read), LimitError;
    TypeError for what is no path.
    """
    if not isinstance(path, (str, PurePath)):
        raise TypeError(f"path must be a str or a Path, not {described(path)}")
    _check_limits(limits)
    name = shown(str(path), FILENAME)
    try:
        with open(path, "rb") as stream:
            text = stream.read(limits.source_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"the file cannot be read ({reason}); give the path of a kernel file"
        raise LanguageError([Diagnostic("E100", message, 1, 1, name)]) from None
    return parse(text, name, limits)
