"""The tile language: text to IR (`parse`) and the rules that every kernel keeps (`check`).

A kernel file is data: it is read through Python's `ast` against a whitelist and never executed.
"""

from __future__ import annotations

from pathlib import Path

from m890sim.errors import Diagnostic, LanguageError
from m890sim.kernel import ir
from m890sim.language.checker import check_kernel
from m890sim.language.limits import DEFAULT_LIMITS, Limits
from m890sim.language.measure import measure
from m890sim.language.reader import read_kernel
from m890sim.language.report import Report

__all__ = ["DEFAULT_LIMITS", "Limits", "check", "check_size", "load_kernel", "parse"]


def parse(
    text: str | bytes, filename: str = "<kernel>", limits: Limits = DEFAULT_LIMITS
) -> ir.Kernel:
    """The kernel that a text holds, checked.

    Raises: LanguageError with every error of the text, LimitError for a text beyond a limit,
    TypeError for what is no text.
    """
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"text must be a str or bytes, not {text!r:.60}")
    report = Report(filename)
    kernel = read_kernel(text, report, limits)
    if kernel is not None:
        check_kernel(kernel, report, limits)
    report.raise_errors()
    if kernel is None:  # pragma: no cover - the report holds the reason
        raise ValueError("no kernel and no error")
    return kernel


def check(kernel: ir.Kernel, limits: Limits = DEFAULT_LIMITS) -> None:
    """Whether a kernel keeps every rule of the language, also one that was built by code.

    Raises: LanguageError with every error, LimitError for a kernel beyond a limit.
    """
    report = Report(kernel.filename)
    check_kernel(kernel, report, limits)
    report.raise_errors()


def check_size(kernel: ir.Kernel, limits: Limits = DEFAULT_LIMITS) -> None:
    """Whether a kernel is within the limits on its size; a part of `check`. Raises: LimitError."""
    measure(kernel, limits)


def load_kernel(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> ir.Kernel:
    """The kernel in a file, checked.

    Raises: LanguageError with every error (E100: the file cannot be read), LimitError.
    """
    name = str(path)
    try:
        with open(path, "rb") as stream:
            text = stream.read(limits.source_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"the file cannot be read ({reason}); give the path of a kernel file"
        raise LanguageError([Diagnostic("E100", message, 1, 1, name)]) from None
    return parse(text, name, limits)
