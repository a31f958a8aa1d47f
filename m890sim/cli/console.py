"""The console that tables are printed on. Imports Rich; `show` imports this file when it must."""

from __future__ import annotations

import os
import sys

from rich.console import Console

PIPED_COLUMNS = 140  # a pipe or a file has no width; Rich's 80 would fold the tables


class PlainConsole(Console):
    """Prints text as it is: file names and kernels may hold brackets and colons."""

    def __init__(self, stderr: bool) -> None:
        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_COLUMNS
        super().__init__(
            stderr=stderr,
            width=width,
            markup=False,
            emoji=False,
            highlight=False,
            force_jupyter=False,  # in a notebook too, what is printed is text, in its order
        )

    def on_broken_pipe(self) -> None:
        # Rich would leave with status 1, which says "wrong result" here.
        raise BrokenPipeError
