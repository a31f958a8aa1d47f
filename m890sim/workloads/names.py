"""The error for an unknown name of a task, a case or a kernel."""

from __future__ import annotations

import difflib

from m890sim.messages import described


def unknown(what: str, name: object, names: list[str]) -> str:
    """Text of the error for an unknown name: the nearest names first, then all.

    Raises: TypeError for what is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"a {what.split()[0]}'s name must be a text, not {described(name)}")
    near = difflib.get_close_matches(name[:80], names, n=3)
    hint = f"did you mean {' or '.join(near)}? There" if near else "there"
    return f"unknown {what}: {described(name, 80)}; {hint} are: {', '.join(names)}"
