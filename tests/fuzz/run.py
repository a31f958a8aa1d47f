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
    """Some tokens of an input deleted, doubled, exchanged or replaced."""
    dice = random.Random(seed)
    tokens = TOKEN.findall(data) or [b" "]
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(tokens))
        kind = dice.randrange(5)
        if kind == 0:
            tokens[place] = dice.choice(WORDS).encode()
        elif kind == 1:
            tokens.insert(place, dice.choice(tokens))
        elif kind == 2 and len(tokens) > 12:
            del tokens[place : place + dice.randint(1, 12)]
        elif kind == 3:
            other = dice.randrange(len(tokens))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        else:
            tokens[place] = dice.choice(STRANGE)
    return b"".join(tokens)[:limit]


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
