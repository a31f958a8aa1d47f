"""Texts that are too large to keep as files: bombs for parsers, checkers and patience."""

from __future__ import annotations

HEAD = """from m890sim.lang import *


@kernel
def k(x: Tensor["T", 16], t: Table["N"], n: Size, B: Tunable = 8):
"""


def kernel(lines: str, head: str = HEAD) -> str:
    """A kernel with these lines in its phase."""
    start = f"{head}    for i in cores(T):\n        a = sram(B, 16, bf16)\n        fill(a, 0.0)\n"
    return start + "".join(f"        {line}\n" for line in lines.splitlines())


def _lines(line: str, count: int) -> str:
    return "\n".join(line.format(i, i + 1) for i in range(count))


DEEP = 100_000
# name -> (text, codes that it may give: which one can depend on the version of Python)
HOSTILE: dict[str, tuple[str, tuple[str, ...]]] = {
    "file_of_300_kib": (kernel("fence()") + "#" * 300 * 1024, ("E501",)),
    "statements_20000": (kernel("fence()\n" * 12_000), ("E503",)),
    "statements_in_a_line": (kernel(";".join(["fence()"] * 20_000)), ("E503",)),
    "brackets": (kernel("j = " + "(" * DEEP + ")" * DEEP), ("E502",)),
    "square_brackets": (kernel("j = " + "[" * DEEP), ("E502",)),
    "braces": (kernel("j = " + "{1:" * 30_000), ("E502",)),
    "minus_signs": (kernel("j = " + "-" * DEEP + "1"), ("E502",)),
    "nots": (kernel("j = " + "not " * 50_000 + "1"), ("E502",)),
    "attributes": (kernel("copy(a, a" + ".T" * DEEP + ")"), ("E502",)),
    "calls_of_calls": (kernel("j = a" + "()" * DEEP), ("E502",)),
    "indices": (kernel("j = a" + "[0]" * 80_000), ("E502",)),
    "sum": (kernel("j = n" + "+n" * DEEP), ("E502",)),
    "short_sum": (kernel("j = n" + "+n" * 200), ("E502",)),
    "powers": (kernel("j = " + "n**" * 80_000 + "1"), ("E502",)),
    "conditionals": (kernel("j = " + "1 if n else " * 20_000 + "1"), ("E502",)),
    "lambdas": (kernel("j = " + "lambda: " * 20_000 + "1"), ("E502",)),
    "awaits": (kernel("j = " + "await " * 40_000 + "n"), ("E502",)),
    "stars": (kernel("copy(" + "*" * DEEP + "a)"), ("E502",)),
    "comparisons": (kernel("if " + "n < " * 60_000 + "n:\n    fence()"), ("E502",)),
    "elifs": (kernel("if n:\n    fence()\n" + "elif n:\n    fence()\n" * 4_000), ("E502",)),
    "blocks": (kernel("\n".join(" " * depth + "if n:" for depth in range(500))), ("E502",)),
    "operands": (kernel("copy(" + "a," * DEEP + ")"), ("E503",)),
    "min_of_many": (kernel("j = min(" + "n," * 20_000 + ")"), ("E502", "E503")),
    "dimensions": (HEAD.replace('"N"', ",".join(['"N"'] * 9_000)), ("E102", "E107")),
    "parameters": (
        HEAD.replace("n: Size", ",".join(f"n{i}: Size" for i in range(12_000))) + "    pass\n",
        ("E503",),
    ),
    "f_strings": (kernel("j = " + 'f"{' * 2_000 + "n" + '}"' * 2_000), ("E102", "E502", "E104")),
    "open_docstring": (HEAD + '    """' + "\n" * 250_000, ("E102",)),
    "open_string": (kernel("j = '" + "a" * 250_000), ("E102",)),
    "quotes": (kernel("j = " + "\"'" * 30_000), ("E102", "E110", "E503")),
    "tabs": (kernel("\t" * DEEP + "fence()"), ("E102",)),
    "colons": (kernel("copy(a[" + ":" * 50_000 + "], a)"), ("E102", "E503")),
    "dots": (kernel("j = " + "." * DEEP), ("E502",)),
    "long_names": (kernel("j" + "a" * 200_000 + " = m" + "b" * 20_000), ("E201",)),
    "unknown_names": (kernel(_lines("j{} = unknown_{}", 2_000)), ("E201",)),
    "repeated_squares": (kernel("j0 = B * 999\n" + _lines("j{1} = j{0} * j{0}", 900)), ("E229",)),
    "imports": ("from m890sim.lang import *\n" * 9_000 + kernel("fence()"), ("E106",)),
    "functions": ("def f(): pass\n" * 9_000, ("E106",)),
    "decorators": ("@kernel\n" * 9_000 + kernel("fence()"), ("E102",)),
    "digits": (kernel("j = " + "9" * 200_000), ("E504",)),
    "exponents": (kernel("j = 1e" + "9" * 5_000), ("E110",)),
    "matches": (kernel("match n:\n    case " + "[" * 20_000), ("E502",)),
}
