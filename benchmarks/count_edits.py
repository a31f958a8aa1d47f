"""How many lines each edit is, with its precondition.

    python benchmarks/count_edits.py

An edit is its decorated function, docstring included, and all functions and classes of
`m890sim/schedule/edits` that it alone uses. What two edits use is shared, like all of
`m890sim/schedule/core`.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EDITS = ROOT / "m890sim" / "schedule" / "edits"
MOST = 80  # lines of an edit, but for the few that are large

Name = tuple[str, str]  # module and name of a definition


class Definitions:
    """The functions and classes at the top of the edits' modules, and which of them each uses."""

    def __init__(self) -> None:
        self.lines: dict[Name, int] = {}
        self.uses: dict[Name, set[Name]] = {}
        self.edits: list[Name] = []
        for path in sorted(EDITS.rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            self._read(module, ast.parse(path.read_text(encoding="utf-8")))

    def _read(self, module: str, tree: ast.Module) -> None:
        known: dict[str, Name] = {}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    known[alias.asname or alias.name] = (node.module, alias.name)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                known[node.name] = (module, node.name)
        for node in tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            name = (module, node.name)
            first = min([node.lineno, *[each.lineno for each in node.decorator_list]])
            assert node.end_lineno is not None
            self.lines[name] = node.end_lineno - first + 1
            used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            self.uses[name] = {known[each] for each in used if each in known}
            if any(
                isinstance(each, ast.Call)
                and isinstance(each.func, ast.Name)
                and each.func.id == "edit"
                for each in node.decorator_list
            ):
                self.edits.append(name)

    def needed_by(self, name: Name) -> set[Name]:
        """A definition and all that it uses, directly or not."""
        found: set[Name] = set()
        open_ = [name]
        while open_:
            each = open_.pop()
            if each in self.lines and each not in found:
                found.add(each)
                open_ += self.uses[each]
        return found


def lengths() -> dict[str, int]:
    """Edit -> lines, longest first."""
    definitions = Definitions()
    needed = {edit: definitions.needed_by(edit) for edit in definitions.edits}
    users = Counter(name for names in needed.values() for name in names)
    own = {
        edit[1]: sum(definitions.lines[name] for name in names if name == edit or users[name] == 1)
        for edit, names in needed.items()
    }
    return dict(sorted(own.items(), key=lambda item: (-item[1], item[0])))


def main() -> None:
    """Print a line an edit."""
    found = lengths()
    for name, lines in found.items():
        print(f"{lines:5d}  {name}")
    short = sum(lines <= MOST for lines in found.values())
    print(f"{short} of {len(found)} edits have at most {MOST} lines with their precondition")


if __name__ == "__main__":
    main()
