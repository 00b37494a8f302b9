"""Small faults that can be planted in a formula's source: where, and what is there instead.

Left alone are docstrings, annotations, decorators, text and what it is formatted from, and what is
raised.
"""

import ast
import copy
import dataclasses

_ARITHMETIC = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.FloorDiv, ast.Add],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.LShift: [ast.RShift],
    ast.RShift: [ast.LShift],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.BitXor: [ast.BitOr],
    ast.MatMult: [ast.Mult],
}
# The boundary, and the negation.
_COMPARISONS = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
_PAIRS = [("min", "max"), ("minimum", "maximum"), ("ceil", "floor"), ("any", "all")]
_NAMES = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])} | {"rint": "floor"}
# Two arguments in the other order are the same, or no formula.
_UNORDERED = {"min", "max", "zip", "getattr", "isinstance", "maximum", "minimum", "map", "partial"}
_SKIPPED = (ast.Raise, ast.JoinedStr)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutant:
    """A fault.

    Attributes
    ----------
    file, where : str
        Path from the root, and the function or class.
    before, after : str
        The lines of what is changed.
    lines : range
        From the first of its statement to its own last.
    source : str
        Of the whole file with the fault.
    """

    file: str
    where: str
    before: str
    after: str
    lines: range
    source: str = dataclasses.field(repr=False)

    def __str__(self):
        return f"{self.file}:{self.lines[-1]} {self.where}: {self.before} -> {self.after}"


def _replaced(node, **fields):
    new = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _is_text(node):
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple | ast.Dict)


def _faults(node):
    """What could be there in place of a node."""
    match node:
        case ast.BinOp() if not (_is_text(node.left) or _is_text(node.right)):
            for op in _ARITHMETIC[type(node.op)]:
                yield _replaced(node, op=op())
        case ast.AugAssign():
            for op in _ARITHMETIC[type(node.op)]:
                yield _replaced(node, op=op())
        case ast.Compare(ops=[only]):
            for op in _COMPARISONS[type(only)]:
                yield _replaced(node, ops=[op()])
        case ast.Compare():
            for place, old in enumerate(node.ops):
                op = _COMPARISONS[type(old)][0]()
                yield _replaced(node, ops=[*node.ops[:place], op, *node.ops[place + 1 :]])
        case ast.Constant(value=bool()):
            yield _replaced(node, value=not node.value)
        case ast.Constant(value=int() | float()):
            # One more would be no change of 1e9.
            more = 2 * node.value if isinstance(node.value, float) else node.value + 1
            yield _replaced(node, value=more or 1)
            if node.value:
                yield _replaced(node, value=0)
        case ast.BoolOp():
            yield _replaced(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        # Rounded down in place of up.
        case ast.UnaryOp(
            op=ast.USub(), operand=ast.BinOp(left=ast.UnaryOp(op=ast.USub()), op=ast.FloorDiv())
        ):
            yield _replaced(node.operand, left=node.operand.left.operand)
        case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
            yield node.operand
        case ast.IfExp():
            yield _replaced(node, body=node.orelse, orelse=node.body)
        case ast.Call():
            yield from _calls(node)


def _calls(node):
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if new := _NAMES.get(name):
        field = "id" if isinstance(node.func, ast.Name) else "attr"
        yield _replaced(node, func=_replaced(node.func, **{field: new}))
    if name == "abs" and len(node.args) == 1:
        yield node.args[0]
    two = len(node.args) == 2 and not any(isinstance(a, ast.Starred) for a in node.args)
    if two and name not in _UNORDERED and not any(map(_is_text, node.args)):
        yield _replaced(node, args=node.args[::-1])


def _visited(node, where=(), statement=None):
    """(node, names of the functions around it, its statement) of all that may be changed."""
    if isinstance(node, _SKIPPED) or _is_main(node):
        return
    if isinstance(node, ast.stmt):
        statement = node
    yield node, ".".join(where), statement
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = (*where, node.name)
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _visited(child, where, statement)


def _is_main(node):
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def sites(file, source):
    """Every fault of a file, in the order of its nodes."""
    whole = source.encode()
    lines = whole.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for node, where, statement in _visited(ast.parse(source)):
        for new in _faults(node):
            first, last = node.lineno - 1, node.end_lineno
            start = starts[first] + node.col_offset
            end = starts[last - 1] + node.end_col_offset
            after = ast.unparse(new)
            planted = after if isinstance(node, ast.AugAssign) else f"({after})"
            head, tail = whole[starts[first] : start].decode(), whole[end : starts[last]].decode()
            yield Mutant(
                file=file,
                where=where,
                before=" ".join(whole[starts[first] : starts[last]].decode().split()),
                after=" ".join(f"{head}{planted}{tail}".split()),
                lines=range(statement.lineno, last + 1),
                source=f"{whole[:start].decode()}{planted}{whole[end:].decode()}",
            )
