"""A coverage-guided run of one target: `python -m tests.fuzz.run TARGET --minutes 30`.

Needs `atheris` (pip install atheris), which is no dependency of the tests. Inputs are changed token
by token, since bytes that are changed one by one seldom get past a parser. A find is written to the
folder and ends the run; memory beyond 1 GB and inputs of more than a minute are finds too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import re
import sys
from collections import Counter
from pathlib import Path

from tests.fuzz.targets import TARGETS, WORDS, seeds

TOKEN = re.compile(rb"\w+|[^\w\s]|\s+")
STRANGE = [
    b"0",
    b"-1",
    b"2147483647",
    b"9" * 25,
    b"\x00",
    b"\xff",
    b"\n",
    b"    ",
    b"1e999",
    b"NaN",
]


def change(data: bytes, limit: int, seed: int) -> bytes:
    """Some tokens of an input exchanged for others, mostly of their own kind, or whole lines moved.

    What is exchanged for its like gets past a parser far more often than what is not.
    """
    dice = random.Random(seed)
    for _ in range(dice.choice((1, 1, 2, 4))):
        data = dice.choice((_of_its_kind, _of_its_kind, _lines, _any_token))(data, dice)
    return data[:limit]


def _of_its_kind(data: bytes, dice: random.Random) -> bytes:
    """A number for a number, a name for a name of the text, a sign for a sign."""
    tokens = TOKEN.findall(data) or [b"0"]
    place = dice.randrange(len(tokens))
    kind = _kind(tokens[place])
    alike = [token for token in tokens if _kind(token) == kind]
    if kind == "number" and dice.random() < 0.5:
        alike = [*STRANGE[:4], *(str(int(t[:18]) + d).encode() for t in alike for d in (-1, 1))]
    tokens[place] = dice.choice(alike)
    return b"".join(tokens)


def _kind(token: bytes) -> str:
    if token.isdigit():
        return "number"
    return "name" if re.fullmatch(rb"\w+", token) else "space" if token.isspace() else "sign"


def _lines(data: bytes, dice: random.Random) -> bytes:
    """A line dropped, doubled, or exchanged with another, each with its own indentation."""
    lines = data.splitlines(keepends=True) or [b"\n"]
    one, two = dice.randrange(len(lines)), dice.randrange(len(lines))
    how = dice.randrange(3)
    if how == 0:
        del lines[one]
    elif how == 1:
        lines.insert(two, lines[one])
    else:
        lines[one], lines[two] = lines[two], lines[one]
    return b"".join(lines)


def _any_token(data: bytes, dice: random.Random) -> bytes:
    """A token deleted, doubled, exchanged or replaced, whatever its kind."""
    tokens = TOKEN.findall(data) or [b" "]
    place = dice.randrange(len(tokens))
    how = dice.randrange(5)
    if how == 0:
        tokens[place] = dice.choice(WORDS).encode()
    elif how == 1:
        tokens.insert(place, dice.choice(tokens))
    elif how == 2 and len(tokens) > 12:
        del tokens[place : place + dice.randint(1, 12)]
    elif how == 3:
        other = dice.randrange(len(tokens))
        tokens[place], tokens[other] = tokens[other], tokens[place]
    else:
        tokens[place] = dice.choice(STRANGE)
    return b"".join(tokens)


def main() -> None:
    """Fuzz until the time is over, then say how far inputs got."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--folder", type=Path, default=Path("fuzzing"))
    args = parser.parse_args()
    import atheris

    folder = args.folder / args.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(seeds(args.target)):
        (folder / f"seed-{number}").write_bytes(text)
    target, reached = TARGETS[args.target], Counter[str]()

    def once(data: bytes) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found = target(data)
        reached[found] += 1
        if sum(reached.values()) % 1000 == 0:
            print(f"{args.target}: {dict(reached)}", flush=True)

    options = [
        sys.argv[0],
        str(folder),
        f"-max_total_time={int(args.minutes * 60)}",
        "-rss_limit_mb=1024",
        "-timeout=60",
        "-max_len=20000",
        f"-artifact_prefix={folder}/find-",
    ]
    atheris.instrument_all()
    atheris.Setup(options, once, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
