"""What an edit is: a frozen record, the row of the table that gives it meaning, and its refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from m890sim.errors import M890Error
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.messages import described

# Where an edit acts: positions of children from the kernel's body down (`ir.children` counts the
# `then` of an If before its `orelse`); () is the kernel itself.
Site = tuple[int, ...]
Argument = int | str | tuple[int | str, ...] | None


class Edit(NamedTuple):
    """One change of a kernel: the name of a row of EDITS, where, and with what.

    A tuple, so that nobody can change one: a memory and all its sessions share their edits.
    """

    name: str
    site: Site = ()
    argument: Argument = None

    def __str__(self) -> str:
        place = ".".join(str(i) for i in self.site) or "kernel"
        return f"{self.name}({place}{'' if self.argument is None else f', {self.argument}'})"


class EditError(M890Error):
    """An edit that does not apply; the message says which precondition failed, and where."""


MOST_NAME, MOST_DEPTH, MOST_INTEGER = 100, 64, 2**64  # of an edit's texts, site and integers


def check_edit(edit: object) -> None:
    """Whether an edit can be one at all: types, and sizes that a message can show.

    Exact types: what is looked up in tables that others share must compare as it looks.
    Raises: TypeError for another type, EditError for a part beyond a bound.
    """
    if type(edit) is not Edit:
        raise TypeError(f"edit must be an Edit, not {described(edit)}")
    name, site, argument = edit
    if type(name) is not str:
        raise TypeError(f"an edit's name must be a text, not {described(name)}")
    if type(site) is not tuple or not all(type(index) is int for index in site):
        raise TypeError(f"an edit's site must be a tuple of integers, not {described(site)}")
    parts = argument if type(argument) is tuple else () if argument is None else (argument,)
    if not all(type(part) in (int, str) for part in parts):
        allowed = "None, an integer, a text or a tuple of these"
        raise TypeError(f"an edit's argument must be {allowed}, not {described(argument)}")
    many = max(len(site), len(parts))
    if many > MOST_DEPTH:
        raise EditError(f"a site or an argument may have {MOST_DEPTH} parts, not {many:,}")
    for part in (name, *site, *parts):
        if isinstance(part, str) and len(part) > MOST_NAME:
            allowed = f"{MOST_NAME} characters, this one has {len(part):,}"
            raise EditError(f"a text of an edit may have {allowed}")
        if isinstance(part, int) and not -MOST_INTEGER < part < MOST_INTEGER:
            raise EditError(f"an edit's integers must lie within 64 bits, not {described(part)}")


def check_kernel(kernel: object) -> None:
    """Raises: TypeError for what is no kernel."""
    if not isinstance(kernel, ir.Kernel):
        raise TypeError(f"kernel must be a Kernel, not {described(kernel)}")


def check_context(context: object) -> None:
    """Raises: TypeError for what is no context."""
    if not isinstance(context, Context):
        made = "as m890sim.session.context_of gives it"
        raise TypeError(f"context must be a Context, {made}, not {described(context)}")


@dataclass(frozen=True, slots=True)
class Context:
    """What legality also depends on: the task's dtypes and promises, a chip's queues and banks."""

    dtypes: tuple[str, ...] = ("bf16", "f16", "f32")
    queues: int = 4
    banks: int = 16
    positive: tuple[str, ...] = ()  # Scalar parameters that the task promises to be above 0


DEFAULT_CONTEXT = Context()


Scope = Callable[[ir.Kernel, Site, ir.Stmt], tuple[object, ...] | None]
Offers = Callable[[ir.Kernel, Site, ir.Stmt | None, Context], Iterable[Argument]]
# Whether a statement is a place for an edit, and the reason why it is none.
Only = tuple[Callable[[ir.Kernel, Site, Any], bool], str]
# The changed kernel, or where building it takes long what builds it.
Planned = ir.Kernel | Callable[[], ir.Kernel]
Plan = Callable[[ir.Kernel, Site, Argument, Context], Planned]
Rewrite = Callable[[ir.Kernel, Site, Argument, Context], ir.Kernel]


@dataclass(frozen=True, slots=True)
class EditSpec:
    """One row of EDITS.

    takes: the arguments that it takes, and offers at each place; or what offers those worth trying
    at a place, cheap and without a guarantee: it may take others as well. plan: the edit itself,
    for a place that `require_place` takes: the changed kernel, or a function that builds it; raises
    EditError where a precondition fails. What it gives passes the language's check and means the
    same; its docstring shows before -> after. A function is given only where all preconditions hold
    and the kernel changes: to know that an edit is legal, it need not be built. heads: names of
    instructions, and of the IR's other statements and of "Kernel": what the edit acts on. None:
    anything. only: which of them are places for it. number: the row's place in EDITS. exact:
    whether each value is computed and rounded as before; else it is that of before within rounding.

    The rest makes `legal_edits` fast and changes no result:

    - scope: objects on which arguments and legality at a statement depend, and on nothing else but
      the context; compared by identity, as edited kernels share nodes. None, or where it gives
      None: on the whole kernel.
    - placing: whether arguments or legality depend on the slots, banks, queues or orders that
      statements name. The answers of all other rows are shared by kernels that differ in these.
    """

    name: str
    text: str  # the effect in one line
    takes: Offers | tuple[Argument, ...]
    plan: Plan
    heads: frozenset[str] | None = None
    scope: Scope | None = None
    placing: bool = False
    number: int = 0
    exact: bool = False
    actions: Mapping[int, Argument] = field(default_factory=dict)  # by row of actions.ROWS
    only: Only | None = None

    def arguments(
        self, kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
    ) -> Iterable[Argument]:
        """The arguments worth trying at a statement (the kernel where `site` is ())."""
        if self.heads is not None and head_of(stmt) not in self.heads:
            return ()
        if self.only is not None and not self.only[0](kernel, site, stmt):
            return ()
        takes = self.takes
        return takes if isinstance(takes, tuple) else takes(kernel, site, stmt, context)

    def rewrite(
        self, kernel: ir.Kernel, site: Site, argument: Argument, context: Context
    ) -> ir.Kernel:
        """The changed kernel. Raises: EditError where a precondition fails."""
        self.require_place(kernel, site, argument)
        planned = self.plan(kernel, site, argument, context)
        return planned if isinstance(planned, ir.Kernel) else planned()

    def require_place(self, kernel: ir.Kernel, site: Site, argument: Argument) -> None:
        """Refuses what the row itself says is no place for the edit, or no argument of it."""
        stmt, body = None, kernel.body
        for place in site:
            if not 0 <= place < len(body):
                raise EditError(f"there is no statement at {'.'.join(map(str, site))}")
            stmt, body = body[place], ir.children(body[place])
        head = head_of(stmt)
        if self.heads is not None and head not in self.heads:
            found = f"{self.name} acts on {_words(self.heads)}, not on {_words({head})}"
            raise refuse(stmt, found)
        if self.only is not None and not self.only[0](kernel, site, stmt):
            raise refuse(stmt, self.only[1])
        takes = self.takes
        if isinstance(takes, tuple) and takes != (None,) and argument not in takes:
            known = ", ".join(map(str, takes))
            raise refuse(stmt, f"{self.name} takes one of {known}, not {argument!r}")

    def applies(self, kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> bool:
        """Whether the edit is legal and changes something, where it offers the argument."""
        try:
            planned = self.plan(kernel, site, argument, context)
        except EditError:
            return False
        return not isinstance(planned, ir.Kernel) or planned != kernel


declared: list[EditSpec] = []  # the edits of all modules that have been imported


def edit(
    number: int,
    *,
    on: str | frozenset[str],
    exact: bool,
    only: Only | None = None,
    arguments: Offers | tuple[Argument, ...] = (None,),
    scope: Scope | None = None,
    placing: bool = False,
    actions: Mapping[int, Argument] | None = None,
) -> Callable[[Plan], Rewrite]:
    """Declares a function to be the edit of its name, with what `EditSpec` says.

    on: the heads of the statements that the edit acts on. arguments: what it `takes`. actions: rows
    of actions.ROWS, each the next that is free, for an edit that is not listed there. The function
    is the row's `plan`, and the first line of its docstring its `text`; its name then stands for
    the row's `rewrite`.
    """
    heads = frozenset((on,)) if isinstance(on, str) else on

    def declare(plan: Plan) -> Rewrite:
        text = (plan.__doc__ or "").split("\n")[0].rstrip(".")
        text = text[:1].lower() + text[1:]
        row = EditSpec(plan.__name__, text, arguments, plan, heads, scope, placing, number, exact)
        row = replace(row, actions=actions or {}, only=only)
        declared.append(row)
        return row.rewrite

    return declare


def head_of(stmt: ir.Stmt | ir.Kernel | None) -> str:
    """What `heads` calls a statement: an instruction's name, or the statement's type."""
    if isinstance(stmt, ir.Instr):
        return stmt.op
    return "Kernel" if stmt is None else type(stmt).__name__


INSTRUCTIONS = frozenset(OPS)
_WORDS = {
    "Cores": "a phase (`for ... in cores(...)`)",
    "HbmDecl": "HBM scratch (`name = hbm(...)`)",
    "If": "an `if`",
    "Kernel": "the kernel",
    "Let": "an assignment",
    "Loop": "a range loop",
    "Stage": "a stage",
    "TileDecl": "a tile (`name = sram(...)` or `acc(...)`)",
}


def _words(heads: Set[str]) -> str:
    """What statements of some heads are called in messages."""
    named, others = sorted(heads & INSTRUCTIONS), sorted(INSTRUCTIONS - heads)
    if len(named) > 8:
        less = f" but {' and '.join(others)}" if len(others) < 4 else " that computes"
        named = ["an instruction" + (less if others else "")]
    return " or ".join([*[_WORDS[head] for head in sorted(heads - INSTRUCTIONS)], *named])


def heads(*names: str) -> frozenset[str]:
    """A set of heads; "Instr" stands for all instructions."""
    found = frozenset(names)
    return found - {"Instr"} | INSTRUCTIONS if "Instr" in found else found


def refuse(stmt: ir.Stmt | ir.Kernel | None, reason: str) -> EditError:
    """The error of a failed precondition at a statement."""
    if stmt is None or isinstance(stmt, ir.Kernel) or not stmt.loc.line:
        return EditError(reason)
    return EditError(f"line {stmt.loc.line}: {reason}")


def require(holds: object, stmt: ir.Stmt | ir.Kernel | None, reason: str) -> None:
    """Refuses an edit of which a precondition fails at a statement. Raises: EditError."""
    if not holds:
        raise refuse(stmt, reason)


def statement(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope of an edit that looks at the statement alone."""
    return (stmt,)
