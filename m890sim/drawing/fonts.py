"""Lines of text as pixels, in the font that Matplotlib brings along."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

_FILES = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
KEPT = 4096  # lines of text
UNKNOWN = "\ufffd"  # in place of signs that the font lacks
_LOCK = Lock()  # a font draws one line at a time


@lru_cache(KEPT)
def text_pixels(text: str, size: int, bold: bool = False) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How much of each pixel a line of text covers, 0 to 1: (height, width).

    size: of the letters in pixels. All lines of one size and weight have one height, and their
    baseline at the same row.
    """
    font = _font(bold)
    above, below = _heights(size)
    with _LOCK:
        font.set_size(size, 72)  # 72 dots an inch: points are pixels
        known = (sign if font.get_char_index(ord(sign)) else UNKNOWN for sign in text)
        font.set_text("".join(known), 0)
        font.draw_glyphs_to_bitmap(antialiased=True)
        image = np.asarray(font.get_image(), dtype=np.float64) / 255.0
        down = font.get_descent() // 64
    found = np.zeros((above + below, image.shape[1]))
    bottom = above + down  # of the image's last row, counted from the top
    top = bottom - len(image)
    first, last = max(0, top), min(len(found), bottom)
    found[first:last] = image[first - top : last - top]
    found.setflags(write=False)
    return found


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Pixels that a line of text is wide."""
    return text_pixels(text, size, bold).shape[1] if text else 0


def shortened(text: str, size: int, most: int, bold: bool = False) -> str:
    """The text, or as much of its beginning as is at most so wide with an ellipsis."""
    if text_width(text, size, bold) <= most:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle] + "…", size, bold) <= most:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def _heights(size: int) -> tuple[int, int]:
    """Pixels above and below the baseline that letters of a size take."""
    return round(size * 0.95), round(size * 0.3)


@lru_cache(2)
def _font(bold: bool) -> Any:
    import matplotlib
    from matplotlib.ft2font import FT2Font

    # By its path: settings of the user's choose no other one.
    return FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / _FILES[bold]))
