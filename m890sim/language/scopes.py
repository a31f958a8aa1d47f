"""Names and what they stand for. No name hides another, so one table is enough."""

from __future__ import annotations

from dataclasses import dataclass

from m890sim.isa import ENGINES, OPS
from m890sim.kernel import ir
from m890sim.kernel.forms import ZERO, Form
from m890sim.kernel.ir import DTYPES, FLOAT_NAMES
from m890sim.language.report import Report
from m890sim.language.reserved import RESERVED
from m890sim.messages import shown

# How early an integer is known: with the kernel's text, at launch, or only inside a phase.
TUNABLE, LAUNCH, LOCAL = 0, 1, 2
_WORDS = {
    "cores": (
        "how many cores there are belongs to the chip, and no kernel needs it: `for i in cores(n):`"
        " spreads n work items over them"
    ),
    "range": "write `for i in range(n):`",
    "stage": "write `with stage(n):`",
    "kernel": "it stands above the function, as `@kernel`",
    "min": "write min(a, b) of integers, or the instruction min(dst, a, b)",
    "max": "write max(a, b) of integers, or the instruction max(dst, a, b)",
    "ceil_div": "write ceil_div(a, b)",
    **dict.fromkeys(("sram", "acc", "hbm"), "declare memory: `name = sram(rows, columns, bf16)`"),
    **dict.fromkeys(ENGINES, "an engine stands only in `engine=`"),
    **dict.fromkeys(DTYPES, "a dtype is the last argument of a declaration"),
}
KINDS = {
    "tensor": "a tensor",
    "hbm": "HBM scratch",
    "table": "a launch table",
    "scalar": "a float",
    "int": "an integer",
    "tile": "a tile",
}


@dataclass(slots=True, eq=False)
class Binding:
    """One name. `serial` counts bindings in the order of the text; `block` numbers its block."""

    name: str
    kind: str  # a key of KINDS
    loc: ir.SourceLoc
    serial: int = 0
    block: int = 0
    level: int = LOCAL  # integers
    form: Form = ZERO  # integers
    dims: tuple[Form, ...] = ()  # tensors, scratch, tables, tiles
    dtype: str = ""
    space: str = ""  # "sram", "acc", "hbm"
    slots: int | None = 1  # tiles; None where the declaration is wrong
    loops: int = 0  # tiles: how many loops and ifs stand around the declaration


class Scope:
    """The names that are visible at one place of the text."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.visible: dict[str, Binding] = {}
        self.told: set[str] = set()
        self.elsewhere: dict[str, ir.SourceLoc] = {}  # names of other blocks, for messages
        self.block = 0
        self._blocks = 0
        self.serials = 0
        self._open: list[tuple[int, list[str]]] = []

    def enter(self) -> None:
        """Opens a block."""
        self._open.append((self.block, []))
        self._blocks += 1
        self.block = self._blocks

    def leave(self) -> None:
        """Ends the block and its names."""
        self.block, names = self._open.pop()
        for name in names:
            del self.visible[name]

    def define(self, binding: Binding) -> None:
        """Makes a name visible, unless it is a word of the language or taken."""
        name = binding.name
        self.serials += 1
        binding.serial, binding.block = self.serials, self.block
        if name in self.report.unknown:
            return
        if name in RESERVED:
            found = (
                f"`{name}` is a word of the language and cannot "
                f"be {KINDS[binding.kind]} of the kernel"
            )
            self.report.add("E203", f"{found}; use another name", binding.loc)
            self.report.unknown.add(name)
            return
        first = self.visible.get(name)
        if first is not None:
            line = f" (line {first.loc.line})" if first.loc.line else ""
            found = f"`{shown(name)}` is {KINDS[first.kind]}{line} already, a name has one meaning"
            self.report.add("E202", f"{found}; use another name", binding.loc)
            return
        self.visible[name] = binding
        if self._open:
            self._open[-1][1].append(name)

    def find(self, name: str, loc: ir.SourceLoc, kinds: tuple[str, ...] = ()) -> Binding | None:
        """The name's binding; reports an unknown name, and gives None.

        kinds: keys of KINDS that the name may be meant as, any where there is none.
        """
        binding = self.visible.get(name)
        if binding is None and name not in self.report.unknown:
            place = self.elsewhere.get(name)
            if name in RESERVED:
                found = f"`{name}` is a word of the language and has no value here"
                self.report.add("E201", f"{found}; {_WORDS.get(name) or _word(name)}", loc)
            elif place is not None and place.line:
                if name in self.told:  # one move of the definition mends every use
                    return None
                self.told.add(name)
                found = (
                    f"`{shown(name)}` is not visible here: it belongs "
                    "to another block or comes later"
                )
                remedy = (
                    f"it is defined in line {place.line}; define it "
                    "before, in a block around this one"
                )
                self.report.add("E201", f"{found}; {remedy}", loc)
            elif not self.report.lost_symbols:
                known = (*self.visible, *FLOAT_NAMES)
                if kinds:
                    known = tuple(n for n, b in self.visible.items() if b.kind in kinds)
                hint = self.report.suggest(name, known)
                found = f"`{shown(name)}` is not defined"
                self.report.add("E201", f"{found}{hint or '; define it before this line'}", loc)
        return binding


def _word(name: str) -> str:
    """What to do with a word of the language where a value is due."""
    if name in OPS:
        return f"it is an instruction: write {OPS[name].signature} on a line of its own"
    return "see docs/language.md for its place"
