"""From a file's text to a kernel: the file's structure and the kernel's parameters."""

from __future__ import annotations

import ast
import keyword
import re

from m890sim.errors import LimitError
from m890sim.kernel import ir
from m890sim.language.advice import written
from m890sim.language.comments import place_comments
from m890sim.language.expressions import Names, expression_depth
from m890sim.language.foreign import DTYPE_NAMES, PARAMETER_KINDS
from m890sim.language.limits import DIMENSION, Limits
from m890sim.language.report import HOLE, Report
from m890sim.language.reserved import ANNOTATIONS
from m890sim.language.source import Source, parse_python, read_source
from m890sim.language.statements import Statements
from m890sim.messages import shown

_DIM = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:([+-])\s*([0-9]+)\s*)?", re.ASCII)
_IMPORT = "`from m890sim.lang import *`"


def read_kernel(text: str | bytes, report: Report, limits: Limits) -> ir.Kernel | None:
    """The kernel as written, or None where there is none. Errors go to the report."""
    source = read_source(text, report, limits)
    if source is None:
        return None
    module = parse_python(source, report, limits)
    if module is None:
        return None
    _refuse_deep(module, source, limits)
    function = _function(module, source, report)
    if function is None:
        return None
    return _Reader(source, report, limits).kernel(function)


def _refuse_deep(module: ast.Module, source: Source, limits: Limits) -> None:
    # The tree has nodes that the IR has not (calls, say): the exact limit is checked on the IR.
    depth, node = expression_depth(module)
    statements, _ = _statement_depth(module)
    if depth > 2 * limits.nesting + 8 or statements > 2 * limits.nesting + 8:
        loc = source.loc(node)
        found = (
            f"the code is nested deeper than {limits.nesting}, the limit; use several statements"
        )
        raise LimitError("E502", found, f"{source.filename}:{loc.line}:{loc.column}")


def _statement_depth(module: ast.Module) -> tuple[int, ast.AST]:
    deepest: tuple[int, ast.AST] = (0, module)
    stack: list[tuple[ast.AST, int]] = [(module, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > deepest[0]:
            deepest = (depth, node)
        stack += [
            (child, depth + 1)
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.stmt)
        ]
    return deepest


def _function(module: ast.Module, source: Source, report: Report) -> ast.FunctionDef | None:
    """The file's one kernel; reports everything else at the top of the file."""
    functions: list[ast.FunctionDef] = []
    imports = 0
    kernel = _kernel_of(module)
    for node in module.body:
        loc = source.loc(node)
        if isinstance(node, ast.FunctionDef):
            if node is kernel:
                functions.append(node)
            elif any(isinstance(d, ast.Name) and d.id == "kernel" for d in node.decorator_list):
                found = "the file has a second kernel, the limit is one a file"
                report.add("E106", f"{found}; move it to a file of its own", loc)
            else:
                found = f"the language has no functions, and `{shown(node.name)}` is one"
                remedy = "write its instructions where it is called"
                report.add("E106", f"{found}; {remedy}", loc)
                report.unknown.add(node.name)
        elif _is_import(node):
            imports += 1
            if imports > 1 or functions:
                found = (
                    "the import stands a second time or below the "
                    f"kernel; write {_IMPORT} once, at the top"
                )
                report.add("E106", found, loc)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found = "the only import of a kernel file is"
            report.add("E106", f"{found} {_IMPORT}; delete any other", loc)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found = "text outside the kernel is not part of the language"
            report.add("E106", f"{found}; write a comment, or a docstring inside the kernel", loc)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            report.unknown.add(name)
            found = "a statement outside the kernel is not part of the language"
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            remedy = "compute it in the kernel"
            if type(value) is int:
                remedy = f"write a parameter, `{shown(name, 40)}: Tunable = {written(node.value)}`"
            elif type(value) is float:
                remedy = f"write the number where it is used, or a parameter `{shown(name, 40)}: "
                remedy += "Scalar`"
            report.add("E106", f"{found}; {remedy}", loc)
        else:
            found = "a statement outside the kernel is not part of the language"
            report.add("E106", f"{found}; move it into the kernel or delete it", loc)
    if not functions:
        if not report.diagnostics:
            found = "the file holds no kernel"
            remedy = f"write {_IMPORT}, then `@kernel` above `def name(...):`"
            report.add("E103", f"{found}; {remedy}", ir.SourceLoc(1, 1))
        return None
    if not imports:
        report.add(
            "E106", f"the import is missing; write {_IMPORT} at the top", source.loc(functions[0])
        )
    return functions[0]


def _kernel_of(module: ast.Module) -> ast.FunctionDef | None:
    """The function that is the file's kernel: the first with a decorator, else the first."""
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    marked = [node for node in functions if node.decorator_list]
    for node in functions:
        if any(isinstance(d, ast.Name) and d.id == "kernel" for d in node.decorator_list):
            return node
    return next(iter(marked or functions), None)


def _is_import(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == "m890sim.lang"
        and node.level == 0
        and [(alias.name, alias.asname) for alias in node.names] == [("*", None)]
    )


def _kind_hint(head: ast.expr, default: bool) -> str:
    """What a parameter's annotation from elsewhere stands for."""
    if isinstance(head, ast.Attribute):
        name = "ndarray" if head.attr == "Tensor" else head.attr
    else:
        name = head.id if isinstance(head, ast.Name) else ""
    if default and name == "int":
        name = "constexpr"
    return PARAMETER_KINDS.get(name, "")


class _Reader:
    """Reads one function as a kernel."""

    def __init__(self, source: Source, report: Report, limits: Limits) -> None:
        self.source = source
        self.report = report
        self.limits = limits
        self.names = Names()

    def kernel(self, function: ast.FunctionDef) -> ir.Kernel:
        self.decorators(function)
        params = self.params(function)
        body = list(function.body)
        doc = ""
        first = body[0]
        value = first.value if isinstance(first, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            doc = value.value
            body = body[1:]
        self.declare(params, body)
        comments = place_comments(self.source, function, body)
        statements = Statements(self.source, self.report, self.names, comments.statements)
        self.names.bound = (
            frozenset(
                child.id
                for child in ast.walk(function)
                if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)
            )
            | {p.name for p in params}
            | {
                n.id
                for p in params
                for d in p.dims
                for n in ir.walk_expr(d)
                if isinstance(n, ir.Name)
            }
        )
        kernel = ir.Kernel(
            function.name,
            params,
            statements.block(body),
            doc,
            comments.header,
            comments.footer,
            self.source.filename,
        )
        self.report.place(kernel, self.source.loc(function))
        return kernel

    def decorators(self, function: ast.FunctionDef) -> None:
        names = [d.id if isinstance(d, ast.Name) else "" for d in function.decorator_list]
        for name, node in zip(names, function.decorator_list, strict=True):
            if name != "kernel":
                found = "a decorator other than `@kernel` is not part of the language"
                self.report.add("E106", f"{found}; delete it", self.source.loc(node))
        if names.count("kernel") != 1:
            found = f"`@kernel` stands {names.count('kernel')} times above the function"
            self.report.add("E106", f"{found}; write it once", self.source.loc(function))
        if function.returns is not None:
            found = "a return annotation is not part of the language; delete it"
            self.report.add("E106", found, self.source.loc(function.returns))
        if getattr(function, "type_params", None):
            found = "type parameters are not part of the language; delete them"
            self.report.add("E106", found, self.source.loc(function))

    def declare(self, params: tuple[ir.Param, ...], body: list[ast.stmt]) -> None:
        """Notes which names are tensors, tables and tiles, before operands are read."""
        for param in params:
            self.names.integers.update(
                node.id
                for dim in param.dims
                for node in ir.walk_expr(dim)
                if isinstance(node, ir.Name)
            )
            if param.kind == "tensor":
                self.names.tensors[param.name] = len(param.dims)
            elif param.kind in ("size", "tunable"):
                self.names.integers.add(param.name)
            if param.kind == "table":
                self.names.tables.add(param.name)
        stack: list[ast.AST] = list(body)
        while stack:
            node = stack.pop()
            stack += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            function, target = node.value.func, node.targets[0]
            if not isinstance(function, ast.Name) or not isinstance(target, ast.Name):
                continue
            if function.id in ("sram", "acc"):
                self.names.tiles.add(target.id)
            elif function.id == "hbm" and target.id not in self.names.tensors:
                arguments = node.value.args
                last = arguments[-1] if arguments else None
                dtype = isinstance(last, ast.Name) and last.id in ir.DTYPES
                self.names.tensors[target.id] = len(arguments) - (1 if dtype else 0)

    def params(self, function: ast.FunctionDef) -> tuple[ir.Param, ...]:
        arguments = function.args
        for extra in (arguments.vararg, arguments.kwarg, *arguments.kwonlyargs):
            if extra is not None:
                found = "`*` among the parameters is not part of the language"
                self.report.add("E107", f"{found}; write plain parameters", self.source.loc(extra))
                self.report.unknown.add(extra.arg)
        if arguments.posonlyargs:
            found = "`/` among the parameters is not part of the language; delete it"
            self.report.add("E107", found, self.source.loc(arguments.posonlyargs[0]))
        plain = arguments.posonlyargs + arguments.args
        defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
        result = []
        for argument, default in zip(plain, [*defaults, *arguments.defaults], strict=True):
            param = self.param(argument, default)
            if param is None:
                self.report.unknown.add(argument.arg)
            else:
                result.append(param)
        return tuple(result)

    def param(self, node: ast.arg, default: ast.expr | None) -> ir.Param | None:
        annotation = node.annotation
        loc = self.source.loc(node)
        kinds = ", ".join(ANNOTATIONS)
        if annotation is None:
            found = f"the parameter `{shown(node.arg)}` has no annotation"
            whole = isinstance(default, ast.Constant) and type(default.value) is int
            if whole and default is not None:
                remedy = f"write `{shown(node.arg, 40)}: Tunable = {written(default)}`"
            else:
                remedy = f'write one of {kinds} after a colon, as in `x: Tensor["T", "D"]`'
            self.report.add("E107", f"{found}; {remedy}", loc)
            self.report.lost_symbols |= default is None
            return None
        head = annotation.value if isinstance(annotation, ast.Subscript) else annotation
        kind = head.id if isinstance(head, ast.Name) else ""
        if kind not in ANNOTATIONS:
            found = f"`{written(annotation)}` is no kind of parameter"
            hint = _kind_hint(head, default is not None) or (
                f"use one of {kinds}{self.report.suggest(kind, ANNOTATIONS)}"
            )
            self.report.add("E107", f"{found}; {hint}", self.source.loc(annotation))
            self._lose(annotation)
            return None
        shaped = kind in ("Tensor", "Table")
        if shaped != isinstance(annotation, ast.Subscript):
            example = (
                f'`{kind}["T", "D"]`'
                if kind == "Tensor"
                else f'`{kind}["B + 1"]`'
                if shaped
                else f"`{kind}`"
            )
            found = f"{kind} is written {'without its dimensions' if shaped else 'with brackets'}"
            self.report.add("E107", f"{found}; write {example}", self.source.loc(annotation))
            self._lose(annotation)
            return None
        if (kind == "Tunable") != (default is not None):
            found = f"`{shown(node.arg)}` has {'no default' if default is None else 'a default'}"
            remedy = (
                "write `NAME: Tunable = 128`"
                if kind == "Tunable"
                else "only a Tunable has one: delete it"
            )
            self.report.add("E107", f"{found}; {remedy}", loc)
            if kind == "Tunable":
                return ir.Param(node.arg, "tunable", default=1, loc=loc)
        if shaped and isinstance(annotation, ast.Subscript):
            return self.shaped(node, kind, annotation, loc)
        if kind == "Tunable" and default is not None:
            return ir.Param(node.arg, "tunable", default=self.default(default), loc=loc)
        return ir.Param(node.arg, kind.lower(), loc=loc)

    def _lose(self, annotation: ast.expr) -> None:
        """Of a refused parameter no symbol is known: their uses are no further errors."""
        self.report.lost_symbols |= not isinstance(annotation, ast.Name) or (
            annotation.id not in ("int", "float", "bool")
        )

    def default(self, node: ast.expr) -> int:
        sign = 1
        inner = node
        if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.USub):
            sign, inner = -1, inner.operand
        if (
            isinstance(inner, ast.Constant)
            and isinstance(inner.value, int)
            and not isinstance(inner.value, bool)
        ):
            return sign * inner.value
        found = (
            "a Tunable's default must be an integer literal; "
            "write a number, as in `BQ: Tunable = 128`"
        )
        self.report.add("E107", found, self.source.loc(node))
        return 1

    def shaped(
        self, node: ast.arg, kind: str, annotation: ast.Subscript, loc: ir.SourceLoc
    ) -> ir.Param | None:
        index = annotation.slice
        entries = list(index.elts) if isinstance(index, ast.Tuple) else [index]
        dtype = "bf16" if kind == "Tensor" else ""
        last = entries[-1] if entries else None
        if kind == "Tensor" and isinstance(last, ast.Name):
            if last.id not in ir.DTYPES:
                self.bad_name(last)
                self._lose(annotation)
                return None
            dtype = last.id
            entries.pop()
        if not entries or (kind == "Table" and len(entries) != 1):
            found = f"{kind} has {len(entries)} dimensions"
            limit = "at least one" if kind == "Tensor" else "one"
            self.report.add("E107", f"{found}, it needs {limit}; write them in its brackets", loc)
            return None
        dims = [self.dim(entry) for entry in entries]
        if any(dim is None for dim in dims):
            self._lose(annotation)
            return None
        return ir.Param(
            node.arg, kind.lower(), tuple(d for d in dims if d is not None), dtype, loc=loc
        )

    def bad_name(self, node: ast.Name) -> None:
        hint = self.report.suggest(node.id, ir.DTYPES)
        found = f"`{shown(node.id)}` is neither a dtype ({', '.join(ir.DTYPES)}) nor a dimension"
        remedy = f'write dimensions as strings, as in "{shown(node.id, 40)}"{hint}'
        if node.id in DTYPE_NAMES:
            remedy = f"write {DTYPE_NAMES[node.id]}"
        elif re.fullmatch(r"u?int\d*|long|bool", node.id):
            remedy = 'values in HBM are floats; integers come in a launch table: `Table["N"]`'
        self.report.add("E230", f"{found}; {remedy}", self.source.loc(node))

    def dim(self, node: ast.expr) -> ir.Expr | None:
        loc = self.source.loc(node)
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, int) and not isinstance(value, bool):
            return ir.Const(value)
        if isinstance(node, ast.Name):
            self.bad_name(node)
            return None
        match = (
            _DIM.fullmatch(value) if isinstance(value, str) and len(value) <= DIMENSION else None
        )
        if match is None or keyword.iskeyword(match[1]):
            found = f"`{written(node)}` is no dimension"
            self.report.add(
                "E107", f'{found}; write an integer, "NAME", "NAME + 1" or "NAME - 1"', loc
            )
            return None
        result: ir.Expr = ir.Name(match[1])
        self.report.place(result, loc)
        if match[2]:
            number = int(match[3])
            if number > self.limits.literal:
                found = (
                    f"the integer {shown(match[3], 24)} is larger "
                    f"than {self.limits.literal}, the limit"
                )
                where = f"{self.source.filename}:{loc.line}:{loc.column}"
                raise LimitError("E504", f"{found}; use a smaller number", where)
            result = ir.Op(match[2], (result, ir.Const(number)))
            self.report.place(result, loc)
        return result


__all__ = ["HOLE", "read_kernel"]
