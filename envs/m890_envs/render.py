"""Pictures of a kernel being edited: its text with the hottest lines; its engines, its speedup.

Drawn with what reports are drawn with (m890sim.drawing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from m890sim.agents.picture import best_so_far
from m890sim.drawing.canvas import Box, Canvas
from m890sim.drawing.curve import Speedups, draw_curve, sparkline, speedup_text
from m890sim.drawing.fonts import shortened
from m890sim.drawing.lanes import (
    NAMES,
    ROW,
    EngineLanes,
    draw_lanes,
    draw_lanes_key,
    lanes_height,
)
from m890sim.drawing.palette import DARK
from m890sim.errors import BindError, LimitError
from m890sim.kernel import ir, print_kernel
from m890sim.language import parse
from m890sim.session import KernelSession, LogEntry
from m890sim.timing.attribution import engine_names
from m890sim.workloads import simulate

Picture = np.ndarray[Any, np.dtype[np.uint8]]

HOTTEST = 5  # lines that are marked
COLUMNS = 72  # of the timeline in text
WIDTH, MARGIN, HEADER, KEY, CURVE = 960, 10, 78, 22, 176  # of a picture, from top to bottom
FAILED = "failed"
MOST_AHEAD = 4  # times the evaluations so far, that the axis of the curve spans at most


def headline(session: KernelSession, entry: LogEntry, case: int) -> str:
    """One line: what is measured, the cycles of one case, speedup now and at best."""
    first = entry.cases[case]
    cycles = "not timed" if first.cycles is None else f"{first.cycles:,} cycles"
    more = f" (and {len(entry.cases) - 1} more cases)" if len(entry.cases) > 1 else ""
    return (
        f"{session.task.name} on {session.chip.name}: {cycles} on {first.case}{more}, "
        f"speedup {entry.speedup:.2f}×, best {session.best_speedup:.2f}×, "
        f"{session.spent} evaluation{'' if session.spent == 1 else 's'}"
    )


def report(
    session: KernelSession, entry: LogEntry, shares: Sequence[float], case: int, last: str
) -> str:
    """The kernel's text, each instruction with its share of the time.

    The HOTTEST ones are marked with `>`. shares: of the time, by statement, the kernel first; case:
    the number of the case that they are of. last: the last edit in words, "" where none was made.
    """
    text = print_kernel(session.kernel)
    # Nodes that edits made have no place of their own: the printed text gives every one a line.
    statements = list(ir.walk(parse(text).body))
    lines = [stmt.loc.line for stmt in statements]
    own = np.array(shares[1 : 1 + len(lines)])
    own *= [isinstance(stmt, ir.Instr) for stmt in statements]
    hottest = {int(place) for place in np.argsort(-own, kind="stable")[:HOTTEST]}
    margins = {}
    for place, share in enumerate(own.tolist()):
        if share > 0:
            mark = ">" if place in hottest else " "
            margins[lines[place]] = f"{mark}{100 * share:5.1f}% "
    body = [margins.get(n, " " * 8) + line for n, line in enumerate(text.splitlines(), 1)]
    found = [*body, "", headline(session, entry, case), _said(last), "", *_progress(session)]
    lanes = _lanes(session, entry, case)
    if lanes is not None:
        found += [f"engines on {session.cases[case].name}:", *lanes.as_text(COLUMNS)]
    return "\n".join([*found, ""]) + entry.message


def _progress(session: KernelSession) -> list[str]:
    """The best speedup over the evaluations, as one line."""
    best = best_so_far(session.log)
    line = sparkline(best, COLUMNS - 20)
    ends = (f"{speedup_text(value)}" for value in (best[0], best[-1]))
    return [f"best so far: {f' {line} '.join(ends)}"] if best else []


def _said(last: str) -> str:
    return f"last edit: {last}" if last else "no edit yet"


def picture(session: KernelSession, entry: LogEntry, number: int, last: str) -> Picture:
    """A frame: uint8 (height, 960, 3), the same for equal sessions.

    Above the cycles of a case, the speedup and the last edit; then what the engines do on the case,
    on the core that ends last; below the speedup over the session's evaluations. number: of the
    case. last: the last edit in words, "" where none was made.
    """
    return frame(session, entry, number, last).pixels


def frame(session: KernelSession, entry: LogEntry, number: int, last: str) -> Canvas:
    """The canvas of a frame."""
    names = engine_names(session.chip)
    below = HEADER + lanes_height(names)
    canvas = Canvas(WIDTH, below + KEY + CURVE, DARK.back)
    room = WIDTH - 2 * MARGIN
    _header(canvas, session, entry, number, last, room)
    lanes = _lanes(session, entry, number)
    draw_lanes(canvas, Box(MARGIN, HEADER, WIDTH - MARGIN, below), lanes, names, DARK)
    draw_lanes_key(canvas, MARGIN, below + 8, DARK)
    if entry.failed:
        why = shortened(f"{entry.code} {entry.message}", 12, room - NAMES - 16)
        canvas.text(MARGIN + NAMES + 8, HEADER + ROW / 2, why, DARK.loss, 12)
    curve = Box(MARGIN - 4, below + KEY, WIDTH - 2, below + KEY + CURVE - 2)
    draw_curve(canvas, curve, _speedups(session, entry), DARK)
    return canvas


def _header(
    canvas: Canvas, session: KernelSession, entry: LogEntry, number: int, last: str, room: int
) -> None:
    first = entry.cases[number]
    cycles = "not timed" if first.cycles is None else f"{first.cycles:,} cycles"
    title = f"{session.task.name} on {session.chip.name}, case {session.cases[number].name}"
    spent = f"{session.spent} evaluation{'' if session.spent == 1 else 's'}"
    canvas.text(MARGIN, 16, shortened(title, 14, room, True), DARK.ink, 14, bold=True)
    at = MARGIN
    for text, colour, bold in (
        (cycles, DARK.ink, False),
        (f"speedup {entry.speedup:.2f}×", DARK.ink, True),
        (f"best {session.best_speedup:.2f}×", DARK.best, True),
        (spent, DARK.dim, False),
        (FAILED if entry.failed else "", DARK.loss, True),
    ):
        at = round(canvas.text(at, 37, text, colour, 13, bold=bold).right) + 18
    canvas.text(MARGIN, 58, shortened(_said(last), 13, room), DARK.yardstick, 13)


def _speedups(session: KernelSession, entry: LogEntry) -> Speedups:
    """The curve of a session so far, over its whole budget; the shown evaluation is marked."""
    log = session.log
    found = [None if one.failed else one.speedup for one in log]
    marks = () if entry.failed or entry.index >= len(log) else (entry.index,)
    end = session.budget if session.budget is not None else len(log)
    return Speedups(found, best_so_far(log), max(2, min(end, MOST_AHEAD * len(log))), (), marks)


def _lanes(session: KernelSession, entry: LogEntry, number: int) -> EngineLanes | None:
    """What the engines do on a case; None where the kernel cannot be timed on it."""
    if entry.cases[number].cycles is None:
        return None
    case, names = session.cases[number], engine_names(session.chip)
    try:
        timing = simulate(session.kernel, case, session.chip, trace=True)
    except (BindError, LimitError):
        return None
    assert timing.trace is not None
    return EngineLanes.of(timing.trace, names, timing.cycles)


class Window:
    """A window that shows pictures; it opens with the first one.

    Raises: DependencyNotInstalled where pygame is missing.
    """

    def __init__(self, frames_a_second: int) -> None:
        try:
            import pygame
        except ImportError as error:
            raise DependencyNotInstalled(
                "render_mode='human' needs pygame, not installed here: "
                "pip install 'm890sim[human]', or take render_mode='rgb_array' or 'ansi'"
            ) from error
        self._pygame: Any = pygame
        self._frames = frames_a_second
        self._screen: Any = None
        self._clock: Any = None

    def show(self, found: Picture) -> None:
        """Show a picture, and wait until it is time for the next one."""
        pygame = self._pygame
        size = found.shape[1], found.shape[0]
        if self._screen is None or self._screen.get_size() != size:
            pygame.display.init()
            pygame.display.set_caption("m890")
            self._screen = pygame.display.set_mode(size)
            self._clock = pygame.time.Clock()
        surface = pygame.surfarray.make_surface(found.swapaxes(0, 1))
        self._screen.blit(surface, (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._frames)

    def close(self) -> None:
        """Close it; the next picture opens it again."""
        if self._screen is not None:
            self._pygame.display.quit()
            self._screen = None
