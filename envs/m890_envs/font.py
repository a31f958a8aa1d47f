"""A font of 3 x 5 pixels for pictures, so that none needs a drawing library."""

from __future__ import annotations

from typing import Any

import numpy as np

# Five rows a character, each a number whose three bits are the pixels from left to right.
_ROWS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711",
    "5": "74717", "6": "74757", "7": "71244", "8": "75757", "9": "75717",
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647",
    "F": "74644", "G": "34553", "H": "55755", "I": "72227", "J": "11153",
    "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "75557",
    "P": "75744", "Q": "75573", "R": "65655", "S": "34216", "T": "72222",
    "U": "55557", "V": "55552", "W": "55775", "X": "55255", "Y": "55222",
    "Z": "71247", ".": "00002", ",": "00024", "%": "51245", "-": "00700",
    "+": "02720", "/": "11244", ":": "02020", "_": "00007", "=": "07070",
    "(": "24442", ")": "21112", "×": "05250",
}  # fmt: skip
_UNKNOWN = "77777"
WIDTH, HEIGHT = 4, 6  # of a character with its gaps, in pixels before scaling


def write_text(
    picture: np.ndarray[Any, np.dtype[np.uint8]],
    x: int,
    y: int,
    text: str,
    colour: tuple[int, int, int],
    scale: int = 2,
) -> None:
    """Write a line into a picture, its left upper corner at (x, y); what lies outside is cut off.

    Letters are shown as capitals.
    """
    for place, letter in enumerate(text):
        if letter == " ":
            continue
        rows = _ROWS.get(letter.upper(), _UNKNOWN)
        for down, row in enumerate(rows):
            for right in range(3):
                if int(row) >> (2 - right) & 1:
                    left = x + (place * WIDTH + right) * scale
                    top = y + down * scale
                    picture[top : top + scale, left : left + scale] = colour
