"""Gymnasium environments around the simulated chip: an action is an edit of a kernel.

The reward is the speedup that the edit brings. Imports m890sim, never the reverse. Importing this
package registers its environments with Gymnasium; this version registers none yet.
"""

from __future__ import annotations

__all__: list[str] = []
