"""From calls in Python's syntax tree to instructions and checked arguments."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from m890sim.isa import OPS, OpSpec
from m890sim.kernel import ir
from m890sim.kernel.shapes import is_default
from m890sim.language.advice import called, mentions, remedy, written
from m890sim.language.expressions import Expressions, Names
from m890sim.language.foreign import KEYWORDS
from m890sim.language.report import Report
from m890sim.language.reserved import BLOCKS, DECLARATIONS, FUNCTIONS
from m890sim.language.source import Source
from m890sim.messages import shown


class Calls(Expressions):
    """Reads instructions; `comments` says which comments belong to which place."""

    def __init__(
        self,
        source: Source,
        report: Report,
        names: Names,
        comments: Mapping[tuple[int, int], ir.Comments],
    ) -> None:
        super().__init__(source, report, names)
        self.comments = comments

    def notes(self, node: ast.AST) -> ir.Comments:
        """The comments of a statement."""
        place = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
        return self.comments.get(place, ir.NO_COMMENTS)

    def _poison(self, node: ast.AST) -> None:
        """Names that a refused statement defines: their uses are no further errors."""
        for child in ast.walk(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                self.report.unknown.add(child.id)

    def _instruction(self, node: ast.Expr) -> ir.Stmt | None:
        call = node.value
        if not isinstance(call, ast.Call):
            if isinstance(call, ast.Constant) and call.value is Ellipsis:
                found = "`...` is not part of the language; complete the code"
            elif isinstance(call, ast.Constant) and isinstance(call.value, str):
                found = "a string here is not part of the language; write a comment"
            else:
                found = "an expression alone does nothing; assign it to a name or delete it"
            self.report.add("E104", found, self.loc(node))
            self._poison(node)
            return None
        if not isinstance(call.func, ast.Name):
            self._method(call)
            return None
        name = call.func.id
        if name in DECLARATIONS or (name in FUNCTIONS and name not in OPS):
            found = f"the result of {name}(...) is not used"
            self.report.add("E108", f"{found}; write `name = {name}(...)`", self.loc(call))
            return None
        if name in BLOCKS:
            word = "with stage(n):" if name == "stage" else f"for i in {name}(...):"
            self.report.add("E108", f"{name} alone does nothing; write `{word}`", self.loc(call))
            return None
        arguments, keywords = self._positional(call), self._keywords(call)
        if arguments is None or keywords is None:
            return None
        row = OPS.get(name)
        if row is not None and self._named_operands(row, call, arguments, keywords):
            return None
        rows = [o for o in row.operands if not o.keyword] if row else []
        operands = tuple(
            self.operand(argument, rows[number].value if number < len(rows) else False)
            for number, argument in enumerate(arguments)
        )
        pairs = self._settings(row, keywords) if row else ()
        return ir.Instr(name, operands, pairs, self.notes(node), self.loc(node))

    def _named_operands(
        self, row: OpSpec, call: ast.Call, arguments: list[ast.expr], keywords: dict[str, ast.expr]
    ) -> bool:
        """Reports operands that are written with their names, where that is all that is wrong."""
        positional = [operand.name for operand in row.operands if not operand.keyword]
        named = [name for name in positional[len(arguments) :] if name in keywords]
        if not named or named != positional[len(arguments) :]:
            return False
        texts = [written(argument) for argument in arguments]
        texts += [written(keywords[name]) for name in named]
        texts += [f"{key}={written(v)}" for key, v in keywords.items() if key not in named]
        found = f"operands of {row.name} are written without names"
        self.report.add("E207", f"{found}; write `{row.name}({', '.join(texts)})`", self.loc(call))
        return True

    def _method(self, call: ast.Call) -> None:
        """Reports a call of something behind a dot, as in `np.add(a, a, b)` or `a.fill(0)`."""
        name = called(call)
        arguments = [written(argument, 48) for argument in call.args]
        if isinstance(call.func, ast.Attribute) and mentions(call.func.value, self.names.here):
            arguments.insert(0, written(call.func.value, 48))
        row = OPS.get(name)
        if not isinstance(call.func, ast.Attribute):
            self.refuse(call.func)
            return
        if row is not None:
            plain = all(isinstance(a, ast.Name | ast.Subscript | ast.Constant) for a in call.args)
            count = sum(not operand.keyword for operand in row.operands)
            fits = plain and len(arguments) == count
            text = f"{name}({', '.join(arguments)})" if fits else row.signature
            advice = f"write `{text}`: instructions are called by their names"
        else:
            advice = remedy(name, arguments, True)
        if not advice:
            self.refuse(call.func)
            return
        found = f"`{written(call.func)}` is not part of the language"
        self.report.add("E104", f"{found}; {advice}", self.loc(call))

    def _settings(
        self, row: OpSpec, keywords: dict[str, ast.expr]
    ) -> tuple[tuple[str, ir.Keyword], ...]:
        """Keywords in the row's order, defaults left out."""
        names = (
            [o.name for o in row.operands if o.keyword]
            + [s.name for s in row.settings]
            + ["engine"]
        )
        offered = [name for name in names if name != "engine" or len(row.engines) > 1]
        for key, value in keywords.items():
            if key not in names:
                positional = [o.name for o in row.operands if not o.keyword]
                if key in positional:
                    found = f"`{key}` of {row.name} is written with its name"
                    self.report.add("E207", f"{found}; write {row.signature}", self.loc(value))
                else:
                    self._unknown_keyword(row.name, key, tuple(offered), value)
        pairs: list[tuple[str, ir.Keyword]] = []
        for operand in row.operands:
            given = keywords.get(operand.name) if operand.keyword else None
            if isinstance(given, ast.Constant) and type(given.value) is bool:
                found = f"`{operand.name}=` of {row.name} takes a tile"
                remedy = f"write `{operand.name}=r`, r being sram(rows, 1, f32)"
                self.report.add("E204", f"{found}; {remedy}", self.loc(given))
            elif operand.keyword and operand.name in keywords:
                read = self.operand(keywords[operand.name], operand.value)
                if isinstance(read, ir.TensorRef):
                    found = f"`{operand.name}` of {row.name} is a piece of HBM"
                    read = self.hole(
                        "E208", f"{found}; load it into a tile first", keywords[operand.name]
                    )
                pairs.append((operand.name, read))
        for setting in row.settings:
            if setting.name in keywords:
                keyword = self._setting(row, setting.kind, setting.name, keywords[setting.name])
                if keyword is not None and not is_default(keyword, setting.default):
                    pairs.append((setting.name, keyword))
        if "engine" in keywords:
            engine = self._engine(row, keywords["engine"])
            if engine != row.engines[0]:
                pairs.append(("engine", engine))
        return tuple(pairs)

    def _setting(self, row: OpSpec, kind: str, name: str, node: ast.expr) -> ir.Keyword | None:
        if kind != "bool":
            return self.expression(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return node.value
        found = f"`{name}` of {row.name} is neither True nor False"
        self.report.add("E217", f"{found}; write one of them, or use `if`", self.loc(node))
        return None

    def _engine(self, row: OpSpec, node: ast.expr) -> str:
        if isinstance(node, ast.Name) and node.id in row.engines:
            return node.id
        found = f"{row.name} cannot run on `{written(node)}`"
        remedy = f"its engines are: {', '.join(row.engines)}"
        self.report.add("E217", f"{found}; {remedy}", self.loc(node))
        return row.engines[0]

    def _positional(self, call: ast.Call) -> list[ast.expr] | None:
        for argument in call.args:
            if isinstance(argument, ast.Starred):
                self.refuse(argument)
                return None
        return list(call.args)

    def _keywords(self, call: ast.Call) -> dict[str, ast.expr] | None:
        result: dict[str, ast.expr] = {}
        for keyword in call.keywords:
            if keyword.arg is None:
                found = "`**` before an argument is not part of the language"
                self.report.add(
                    "E104", f"{found}; write the arguments one by one", self.loc(keyword.value)
                )
                return None
            if keyword.arg in result:
                found = f"the keyword `{shown(keyword.arg)}` is given twice"
                self.report.add("E207", f"{found}; delete one", self.loc(keyword))
            result[keyword.arg] = keyword.value
        return result

    def _unknown_keyword(self, name: str, key: str, known: tuple[str, ...], node: ast.expr) -> None:
        found = f"{name} has no keyword `{shown(key)}`"
        remedy = f"its keywords are: {', '.join(known)}" if known else "it takes none"
        remedy = KEYWORDS.get(key, remedy)
        hint = "" if key in KEYWORDS else self.report.suggest(key, known)
        self.report.add("E207", f"{found}; {remedy}{hint}", self.loc(node))
