"""What is said on stderr beside a command's answer: it may get lost and never ends the command."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def tell(text: str) -> None:
    """Print on stderr; where that cannot be written, go on without it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a full disk, a reader that has gone, a closed stream
        # What is still buffered must not fail again when Python ends.
        with suppress(OSError, ValueError):
            handle = os.open(os.devnull, os.O_WRONLY)
            os.dup2(handle, sys.stderr.fileno())
            os.close(handle)
