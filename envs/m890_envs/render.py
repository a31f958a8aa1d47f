"""Pictures of a kernel being edited: its text with the hottest lines, a timeline of the engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from m890_envs.font import HEIGHT, WIDTH, write_text
from m890sim.drawing.lanes import last_core
from m890sim.errors import BindError, LimitError
from m890sim.kernel import ir, print_kernel
from m890sim.language import parse
from m890sim.session import KernelSession, LogEntry
from m890sim.timing.attribution import engine_names
from m890sim.workloads import simulate

Picture = np.ndarray[Any, np.dtype[np.uint8]]

HOTTEST = 5  # lines that are marked
_TEXT, _GRID, _BACK, _LANE = (225, 228, 232), (70, 76, 86), (24, 27, 33), (38, 43, 51)
_HELD = (190, 130, 40)
_COLOURS = {
    "dma": (86, 156, 214),
    "matrix": (120, 200, 120),
    "vector": (200, 120, 200),
    "sfu": (230, 110, 100),
}
_LEGEND = "bright: working   dark: result under way   amber: held by an operand or a slot"
_WIDTH, _LEFT, _TOP, _ROW, _BOTTOM, _SCALE = 960, 70, 60, 30, 46, 2


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
    return "\n".join([*body, "", headline(session, entry, case), _said(last), ""]) + entry.message


def _said(last: str) -> str:
    return f"last edit: {last}" if last else "no edit yet"


def picture(session: KernelSession, entry: LogEntry, number: int, last: str) -> Picture:
    """What the engines do on a case, on the core that ends last: uint8 (height, width, 3).

    Above it the cycles, the speedup and the last edit. One lane an engine, cycles from left to
    right. Bright: the engine works. Dark: it is done, the result is under way. Amber, below: it
    stands idle while its next instruction waits for an operand or a slot.
    """
    names = engine_names(session.chip)
    height = _TOP + _ROW * len(names) + _BOTTOM
    canvas = np.full((height, _WIDTH, 3), _BACK, dtype=np.uint8)
    first, case = entry.cases[number], session.cases[number]
    write_text(canvas, 8, 8, f"{session.task.name} {case.name} {session.chip.name}", _TEXT, _SCALE)
    cycles = "not timed" if first.cycles is None else f"{first.cycles} cycles"
    line = f"{cycles}   speedup {entry.speedup:.2f}×   best {session.best_speedup:.2f}×"
    write_text(canvas, 8, 24, f"{line}   {session.spent} evaluations", _TEXT, _SCALE)
    write_text(canvas, 8, 40, _said(last), _TEXT, _SCALE)
    for lane, name in enumerate(names):
        top = _TOP + lane * _ROW
        canvas[top : top + _ROW - 6, _LEFT:-8] = _LANE
        write_text(canvas, 8, top + 7, name, _TEXT, _SCALE)
    try:
        timing = simulate(session.kernel, case, session.chip, trace=True)
    except (BindError, LimitError):
        return canvas
    assert timing.trace is not None
    edges = np.linspace(0, timing.cycles, _WIDTH - 8 - _LEFT + 1)
    own = last_core(timing.trace)
    for lane, name in enumerate(names):
        rows = own[own[:, 1] == lane]
        dispatch, start, end, ready = rows[:, 3:].T
        free = _shifted(end)
        top = _TOP + lane * _ROW
        kind = name.rstrip("0123456789")
        bright = _COLOURS[kind]
        until = np.maximum.accumulate(ready)
        _blend(
            canvas,
            top,
            top + _ROW - 12,
            _coverage(np.maximum(end, _shifted(until)), until, edges),
            tuple(part // 3 for part in bright),
        )
        _blend(canvas, top, top + _ROW - 12, _coverage(start, end, edges), bright)
        held = _coverage(np.maximum(dispatch, free), start, edges)
        _blend(canvas, top + _ROW - 12, top + _ROW - 6, held, _HELD)
    _axis(canvas, timing.cycles, height - _BOTTOM)
    return canvas


def _shifted(times: Any) -> Any:
    """The time before each one; 0 before the first."""
    return np.concatenate((np.zeros(min(1, len(times)), dtype=np.int64), times[:-1]))


def _coverage(start: Any, end: Any, edges: Any) -> Any:
    """How much of every pixel the intervals cover, 0 to 1; they rise and don't overlap."""
    if not len(start):
        return np.zeros(len(edges) - 1)
    lengths = np.maximum(end - start, 0)
    before = np.cumsum(lengths) - lengths
    times = np.stack((start, start + lengths), axis=1).ravel()
    sums = np.stack((before, before + lengths), axis=1).ravel()
    return np.diff(np.interp(edges, times, sums)) / (edges[1] - edges[0])


def _blend(canvas: Picture, top: int, bottom: int, share: Any, colour: tuple[int, ...]) -> None:
    lane = canvas[top:bottom, _LEFT:-8]
    mixed = lane + share[None, :, None] * (np.array(colour) - lane.astype(np.float64))
    lane[:] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _axis(canvas: Picture, cycles: int, top: int) -> None:
    span = _WIDTH - 8 - _LEFT - 1
    for quarter in range(5):
        x = _LEFT + quarter * span // 4
        canvas[_TOP - 2 : top + 4, x] = _GRID
        label = str(quarter * cycles // 4)
        left = min(x, _WIDTH - 8 - len(label) * WIDTH * _SCALE)
        write_text(canvas, left, top + 6, label, _TEXT, _SCALE)
    legend = top + 8 + HEIGHT * _SCALE + 4
    write_text(canvas, _LEFT, legend, _LEGEND, _TEXT, _SCALE)


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
