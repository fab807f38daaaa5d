"""The text of kernels in CUDA C++.

A kernel computes the values of its roots where they are needed: every elementwise operation and every
change of place between memory and root becomes an expression of the index, so nothing in between is ever
stored. ``head.cu`` stands once before the kernels of a program.

All loops go in strides of the grid, so any number of blocks and threads will do. The order of additions
depends on these numbers only, never on chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from nnbackend.program.operations import OPERATIONS, REDUCTIONS
from nnbackend.program.trace import External, Node, Untraceable

__all__ = ["Kernel", "Place", "Root", "Unfusible", "kernel", "program"]

_HEAD = resources.files("nnbackend.program").joinpath("head.cu").read_text("utf-8")

_TYPES = {
    "bool": "bool", "int32": "int", "int64": "long long", "float32": "float", "float64": "double",
    "float16": "float", "bfloat16": "float",
}  # fmt: skip
_HALVES = {
    "__half": "#include <cuda_fp16.h>\n"
    "__device__ inline float nnb_load(__half x) { return __half2float(x); }\n",
    "__nv_bfloat16": "#include <cuda_bf16.h>\n"
    "__device__ inline float nnb_load(__nv_bfloat16 x) { return __bfloat162float(x); }\n",
}
_STORED = _TYPES | {"float16": "__half", "bfloat16": "__nv_bfloat16"}
_SPLIT = 1 << 16  # numbers above which one block of threads does not add up all
_PARTS = 256  # blocks that do it then
_MOST_BLOCKS = 4096

Index = tuple[str, ...]


class Unfusible(Exception):
    """Roots that one kernel cannot compute together."""


@dataclass(frozen=True)
class Place:
    """Where numbers lie: memory that stays, or the buffer of a node; from which number on."""

    memory: External | Node
    start: int = 0


@dataclass(eq=False)
class Root:
    """Something that is computed into memory.

    Attributes:
        value: the node; a product or a reduction, or anything else (``"map"``).
        kind: ``"product"``, ``"all"``, ``"last"``, ``"first"`` (reductions), or ``"map"``.
        place: where it goes.
        number: its place in time.
        at: how many times its size to leave free before it; see :class:`Store`.
    """

    value: Node
    kind: str
    place: Place
    number: int
    at: Node | None = None


@dataclass(frozen=True)
class Kernel:
    """A kernel and how it is called.

    Attributes:
        text: its definition, with ``{name}`` for the name.
        places: the arguments: where each pointer points.
        blocks: how many blocks of threads.
        threads: of each block, along x and y.
    """

    text: str
    places: tuple[Place, ...]
    blocks: int
    threads: tuple[int, int]


def program(kernels: Sequence[Kernel]) -> tuple[str, list[str]]:
    """Return the text of a program with these kernels, and their names."""
    names = [f"nnb_{i}" for i in range(len(kernels))]
    body = "".join(k.text.format(name=name) for k, name in zip(kernels, names, strict=True))
    halves = "".join(text for kind, text in _HALVES.items() if kind in body)
    return halves + _HEAD + body, names


def kernel(roots: Sequence[Root], places: Callable[[Node], Place | None]) -> list[Kernel]:
    """Return the kernels that compute roots together: one, but for the reduction of many numbers.

    Args:
        roots: in an order in which they can be computed.
        places: where a node lies that is in memory; None for one that is computed where it is needed.

    Raises:
        Unfusible: one kernel cannot compute them together.
    """
    kinds = {root.kind for root in roots}
    if "all" in kinds or "first" in kinds:
        if len(roots) > 1:
            raise Unfusible
        return _total(roots[0], places) if "all" in kinds else [_columns(roots[0], places)]
    return [_rows(roots, places) if "last" in kinds else _map(roots, places)]


class _Emitter:
    """Writes the statements that compute values at an index.

    Attributes:
        lines: the statements.
        loads: what is read: the place and the index, as text.
        registers: reductions that are in a variable, with the index at which they are.
    """

    def __init__(self, own: Sequence[Root], places: Callable[[Node], Place | None]) -> None:
        self.lines: list[str] = []
        self.loads: list[tuple[Place, str]] = []
        self.registers: dict[Node, tuple[str, Index]] = {}
        self._own = {root.value for root in own if places(root.value) == root.place}
        self._places = places
        self._names: dict[Place, tuple[str, np.dtype[Any]]] = {}
        self._known: dict[tuple[Node, Index], str] = {}
        self._flat: dict[tuple[Index, tuple[int, ...]], str] = {}
        self._count = 0

    def taken(self) -> list[str]:
        """Return the statements so far, and begin with new ones."""
        lines, self.lines = self.lines, []
        return lines

    def scope(self) -> tuple[Any, ...]:
        """Return what is known now, for :meth:`leave`."""
        return dict(self._known), dict(self._flat)

    def leave(self, scope: tuple[Any, ...]) -> None:
        """Forget the variables of a loop that ends."""
        self._known, self._flat = scope

    def pointer(self, place: Place, dtype: np.dtype[Any]) -> str:
        """Return the name of the argument that points to a place."""
        if place not in self._names:
            self._names[place] = f"p{len(self._names)}", dtype
        return self._names[place][0]

    def arguments(self, written: Sequence[Place]) -> tuple[str, tuple[Place, ...]]:
        """Return the kernel's parameters, those written into last, and their places."""
        order = [p for p in self._names if p not in written] + list(dict.fromkeys(written))
        text = ", ".join(f"{_STORED[self._names[p][1].name]}* {self._names[p][0]}" for p in order)
        return text, tuple(order)

    def value(self, node: Node, index: Index) -> str:
        """Return the name of a variable with the value of a node at an index."""
        key = node, index
        if key not in self._known:
            self._known[key] = self._variable(_type(node.dtype), self._expression(node, index))
        return self._known[key]

    def at(self, flat: str, shape: tuple[int, ...]) -> Index:
        """Return the index of the number ``flat`` in an array of a shape."""
        wide = [axis for axis, n in enumerate(shape) if n != 1]
        index = ["0"] * len(shape)
        inner = 1
        for axis in reversed(wide):
            text = flat if inner == 1 else f"({flat} / {inner})"
            if axis != wide[0]:
                text = f"({text} % {shape[axis]})"
            index[axis] = text if text == flat else self._variable("int", text)
            inner *= shape[axis]
        self._flat[tuple(index), shape] = flat
        return tuple(index)

    def flat(self, index: Index, shape: tuple[int, ...]) -> str:
        """Return the number in an array that an index stands for."""
        known = self._flat.get((index, shape))
        if known is not None:
            return known
        text = ""
        for i, n in zip(index, shape, strict=True):
            if n != 1:
                text = f"({text} * {n} + {i})" if text else i
        return text or "0"

    def _variable(self, kind: str, expression: str) -> str:
        self._count += 1
        name = f"v{self._count}"
        self.lines.append(f"const {kind} {name} = {expression};")
        return name

    def _expression(self, node: Node, index: Index) -> str:
        if node in self.registers:
            name, where = self.registers[node]
            if index != where:
                raise Unfusible
            return name
        if node.operation == "array":
            return self._load(Place(node.detail), node, index)
        if node in self._own and node.operation in (*REDUCTIONS, "matmul", "concat"):
            raise Unfusible  # it is not computed yet, and not to be had by an expression
        place = None if node in self._own else self._places(node)
        if place is not None:
            return self._load(place, node, index)
        if node.operation in OPERATIONS:
            return self._operation(node, index)
        inline: Any = getattr(self, f"_{node.operation}", None)
        if inline is None:
            raise Untraceable(f"{node.operation} is not known in a kernel")
        return inline(node, index)  # type: ignore[no-any-return]

    def _load(self, place: Place, node: Node, index: Index) -> str:
        flat = self.flat(index, node.shape)
        self.loads.append((place, flat))
        name = f"{self.pointer(place, node.dtype)}[{flat}]"
        return f"nnb_load({name})" if _type(node.dtype) != _STORED[node.dtype.name] else name

    def _operation(self, node: Node, index: Index) -> str:
        operation = OPERATIONS[node.operation]
        kinds = [arg.dtype for arg in node.args if arg.operation != "constant"] or [node.dtype]
        common = node.dtype if operation.operands == "same" else np.result_type(*kinds)
        if common.kind in "biu" and any(type(arg.detail) is float for arg in node.args):
            common = np.result_type(common, np.float64)  # a whole number compared with a fraction
        operands = []
        for position, arg in enumerate(node.args):
            own = operation.operands == "own" and position == 0
            wanted = node.dtype if operation.operands == "own" else common
            operands.append(self._operand(arg, index, arg.dtype if own else wanted))
        return operation.text.format(*operands)

    def _operand(self, arg: Node, index: Index, dtype: np.dtype[Any]) -> str:
        """Return an operand in the type that an operation wants."""
        if arg.operation == "constant":
            return _literal(arg.detail, dtype)
        name = self.value(arg, _aligned(index, arg.shape))
        return name if _type(arg.dtype) == _type(dtype) else f"({_type(dtype)})({name})"

    # Sources and changes of place, by the name of the operation.

    def _constant(self, node: Node, index: Index) -> str:
        return _literal(node.detail, node.dtype)

    def _arange(self, node: Node, index: Index) -> str:
        return f"({_type(node.dtype)})({node.detail} + {index[0]})"

    def _random_bits(self, node: Node, index: Index) -> str:
        key, step = node.args
        words = ", ".join(f"(unsigned)({self.value(key, (str(i),))})" for i in (0, 1))
        return f"nnb_random_bits({words}, {index[0]}, {self.value(step, ())})"

    def _astype(self, node: Node, index: Index) -> str:
        name = self.value(node.args[0], index)
        if node.dtype.name in ("float16", "bfloat16"):
            return (
                f"nnb_load(({_STORED[node.dtype.name]})((float)({name})))"  # rounded as it is asked
            )
        if node.dtype == np.bool_:
            return f"({name} != 0)"
        return f"({_type(node.dtype)})({name})"

    def _reshape(self, node: Node, index: Index) -> str:
        (arg,) = node.args
        wide = [i for i, n in zip(index, node.shape, strict=True) if n != 1]
        if [n for n in arg.shape if n != 1] == [n for n in node.shape if n != 1]:
            rest = iter(wide)
            inner = tuple("0" if n == 1 else next(rest) for n in arg.shape)
            known = self._flat.get((index, node.shape))
            if known is not None:
                self._flat[inner, arg.shape] = known
            return self.value(arg, inner)
        return self.value(arg, self.at(self._named(self.flat(index, node.shape)), arg.shape))

    def _named(self, text: str) -> str:
        return text if text.isidentifier() or text.isdigit() else self._variable("int", text)

    def _transpose(self, node: Node, index: Index) -> str:
        inner = [""] * len(index)
        for i, axis in zip(index, node.detail, strict=True):
            inner[axis] = i
        return self.value(node.args[0], tuple(inner))

    def _slice(self, node: Node, index: Index) -> str:
        moved = (i if not k else f"({i} + {k})" for i, k in zip(index, node.detail, strict=True))
        return self.value(node.args[0], tuple(moved))

    def _broadcast(self, node: Node, index: Index) -> str:
        return self.value(node.args[0], _aligned(index, node.args[0].shape))

    def _rows(self, node: Node, index: Index) -> str:
        array, batch = node.args
        first = f"({self.value(batch, ())} * {node.detail} + {index[0]})"
        return self.value(array, (self._named(first), *index[1:]))

    def _take(self, node: Node, index: Index) -> str:
        array, numbers = node.args
        depth = len(numbers.shape)
        row = f"(int)({self.value(numbers, index[:depth])})"
        return self.value(array, (self._variable("int", row), *index[depth:]))

    def _stack(self, node: Node, index: Index) -> str:
        place, rest = index[node.detail], index[: node.detail] + index[node.detail + 1 :]
        names = [self.value(arg, rest) for arg in node.args]  # the index is in range in all of them
        text = names[-1]
        for k in range(len(names) - 2, -1, -1):
            text = f"({place} == {k} ? {names[k]} : {text})"
        return text


def _map(roots: Sequence[Root], places: Callable[[Node], Place | None]) -> Kernel:
    """Return a kernel that computes arrays of one shape, number by number."""
    shape = roots[0].value.shape
    if any(root.value.shape != shape for root in roots):
        raise Unfusible
    emitter, size = _Emitter(roots, places), math.prod(shape)
    index = emitter.at("i", shape)
    stores = [_stored(emitter, root, emitter.value(root.value, index), "i") for root in roots]
    lines = [
        f"for (int i = nnb_first(); i < {size}; i += nnb_stride()) {{",
        *_indented([*emitter.lines, *stores]),
        "}",
    ]
    _check_in_place(emitter, roots, "i")
    return _kernel(emitter, roots, lines, min(-(-size // 256), _MOST_BLOCKS), (256, 1))


def _rows(roots: Sequence[Root], places: Callable[[Node], Place | None]) -> Kernel:
    """Return a kernel with a block of threads for each row, that reduces rows and goes on with it."""
    shape = next(root.value.args[0].shape for root in roots if root.kind == "last")
    lead, columns = shape[:-1], shape[-1]
    emitter = _Emitter(roots, places)
    row = emitter.at("r", lead)
    lines = emitter.taken()
    for root in roots:
        scope = emitter.scope()
        if root.kind == "last":
            if root.value.args[0].shape != shape:
                raise Unfusible
            total = f"r{len(emitter.registers)}"
            lines += _reduced_row(emitter, root, (*row, "c"), columns, total)
            emitter.leave(scope)
            emitter.registers[root.value] = total, row
            store = _stored(emitter, root, total, "r")
            lines += [*emitter.taken(), f"if (threadIdx.x == 0) {store}"]
        elif root.value.shape == shape:
            value = emitter.value(root.value, (*row, "c"))
            store = _stored(emitter, root, value, f"(r * {columns} + c)")
            lines += [_columns_loop(columns), *_indented([*emitter.taken(), store]), "}"]
            emitter.leave(scope)
        elif root.value.size == math.prod(lead):
            value = emitter.value(root.value, emitter.at("r", root.value.shape))
            store = _stored(emitter, root, value, "r")
            lines += [*emitter.taken(), f"if (threadIdx.x == 0) {store}"]
        else:
            raise Unfusible
    rows = math.prod(lead)
    _check_in_place(emitter, roots, None)
    loop = f"for (int r = blockIdx.x; r < {rows}; r += gridDim.x) {{"
    threads = min(256, max(32, 1 << (columns - 1).bit_length()))
    return _kernel(emitter, roots, [loop, *_indented(lines), "}"], min(rows, 1 << 16), (threads, 1))


def _columns_loop(columns: int) -> str:
    return f"for (int c = threadIdx.x; c < {columns}; c += blockDim.x) {{"


def _reduced_row(
    emitter: _Emitter, root: Root, index: Index, columns: int, total: str
) -> list[str]:
    """Return the statements that reduce a row, into a variable that all threads know."""
    node = root.value
    kind, start, function = _reduction(node)
    value = emitter.value(node.args[0], index)
    inner = [*emitter.taken(), _joined(node, function, f"{total}_own", value, "c")]
    over_block = _finished(node, f"nnb_over_block<{function}>({total}_own)")
    return [
        f"{kind} {total}_own = {start};",
        _columns_loop(columns),
        *_indented(inner),
        "}",
        f"const {_type(node.dtype)} {total} = {over_block};",
    ]


def _columns(root: Root, places: Callable[[Node], Place | None]) -> Kernel:
    """Return a kernel that reduces all axes but the last."""
    kind, start, function = _reduction(root.value)
    (arg,) = root.value.args
    lead, columns = arg.shape[:-1], arg.shape[-1]
    emitter = _Emitter([root], places)
    scope = emitter.scope()
    value = emitter.value(arg, (*emitter.at("r", lead), "c"))
    inner = [*emitter.taken(), _joined(root.value, function, "a", value, "r")]
    emitter.leave(scope)
    store = _stored(emitter, root, "total", "c")
    lines = [
        *emitter.taken(),
        f"for (int c0 = blockIdx.x * blockDim.x; c0 < {columns}; c0 += gridDim.x * blockDim.x) {{",
        "    const int c = c0 + threadIdx.x;",
        f"    {kind} a = {start};",
        f"    if (c < {columns}) {{",
        f"        for (int r = threadIdx.y; r < {math.prod(lead)}; r += blockDim.y) {{",
        *_indented(inner, 12),
        "        }",
        "    }",
        f"    const {kind} total = nnb_over_columns<{function}>(a);",
        f"    if (threadIdx.y == 0 && c < {columns}) {store}",
        "}",
    ]
    _check_in_place(emitter, [root], None)
    width = min(32, max(4, 1 << (columns - 1).bit_length()))
    return _kernel(emitter, [root], lines, -(-columns // width), (width, 512 // width))


def _total(root: Root, places: Callable[[Node], Place | None]) -> list[Kernel]:
    """Return the kernels that reduce all numbers to one: two, where one block would take too long."""
    node = root.value
    if node.args[0].size <= _SPLIT:
        return [_one_number(root, places, 1)]
    parts = Node("parts", (), (_PARTS,), node.dtype)
    partly = Root(Node(node.operation, node.args, (), node.dtype), "all", Place(parts), root.number)
    rest = Root(
        Node(node.operation, (parts,), (), node.dtype), "all", root.place, root.number, root.at
    )
    return [
        _one_number(partly, places, _PARTS),
        _one_number(rest, lambda node: Place(parts) if node is parts else places(node), 1),
    ]


def _one_number(root: Root, places: Callable[[Node], Place | None], blocks: int) -> Kernel:
    """Return a kernel in which each block of threads reduces its share to one number."""
    kind, start, function = _reduction(root.value)
    (arg,) = root.value.args
    emitter = _Emitter([root], places)
    scope = emitter.scope()
    value = emitter.value(arg, emitter.at("i", arg.shape))
    inner = [*emitter.taken(), _joined(root.value, function, "a", value, "i")]
    emitter.leave(scope)
    store = _stored(emitter, root, "total", "blockIdx.x")
    lines = [
        *emitter.taken(),
        f"{kind} a = {start};",
        f"for (int i = nnb_first(); i < {arg.size}; i += nnb_stride()) {{",
        *_indented(inner),
        "}",
        f"const {kind} total = nnb_over_block<{function}>(a);",
        f"if (threadIdx.x == 0) {store}",
    ]
    _check_in_place(emitter, [root], None)
    return _kernel(emitter, [root], lines, blocks, (256, 1))


def _kernel(
    emitter: _Emitter,
    roots: Sequence[Root],
    lines: list[str],
    blocks: int,
    threads: tuple[int, int],
) -> Kernel:
    parameters, places = emitter.arguments([root.place for root in roots])
    body = "\n".join(_indented(lines))
    text = f'extern "C" __global__ void {{name}}({parameters}) {{{{\n'
    text += body.replace("{", "{{").replace("}", "}}") + "\n}}\n"
    return Kernel(text, places, blocks, threads)


def _stored(emitter: _Emitter, root: Root, name: str, flat: str) -> str:
    """Return the statement that puts a value where it goes."""
    dtype = root.value.dtype
    pointer = emitter.pointer(root.place, dtype)
    where = (
        flat if root.at is None else f"{emitter.value(root.at, ())} * {root.value.size} + {flat}"
    )
    value = name if _type(dtype) == _STORED[dtype.name] else f"({_STORED[dtype.name]})({name})"
    return f"{pointer}[{where}] = {value};"


def _check_in_place(emitter: _Emitter, roots: Sequence[Root], flat: str | None) -> None:
    """Refuse a kernel that reads what another of its threads writes.

    What is read at the very index at which it is written, ``flat``, is read before.
    """
    for root in roots:
        for place, where in emitter.loads:
            if not _overlap(place, root.place):
                continue
            same = place == root.place or _start(place) == _start(root.place)
            if flat is None or not same or where != flat or root.at is not None:
                raise Unfusible


def _overlap(a: Place, b: Place) -> bool:
    if isinstance(a.memory, External) and isinstance(b.memory, External):
        return a.memory.overlaps(b.memory)
    return a.memory is b.memory


def _start(place: Place) -> Any:
    return place.memory.start if isinstance(place.memory, External) else (place.memory, place.start)


def _reduction(node: Node) -> tuple[str, str, str]:
    """Return the type in which a reduction is done, its start and its function."""
    reduction = REDUCTIONS[node.operation]
    kind = _type(node.args[0].dtype if node.args else node.dtype)
    start = reduction.start.format(type=kind)
    accumulated = f"nnb_Best<{kind}>" if node.operation == "argmax" else kind
    return accumulated, start, reduction.function


def _joined(node: Node, function: str, total: str, value: str, place: str) -> str:
    """Return the statement that takes one more number into a reduction."""
    if node.operation == "argmax":
        value = f"nnb_best({value}, {place})"
    return f"{total} = {function}::of({total}, {value});"


def _finished(node: Node, expression: str) -> str:
    return f"{expression}.place" if node.operation == "argmax" else expression


def _type(dtype: np.dtype[Any]) -> str:
    """Return the type in which numbers of a dtype are computed with."""
    name = _TYPES.get(dtype.name)
    if name is None:
        raise Untraceable(f"numbers of dtype {dtype} are not known in a kernel")
    return name


def _literal(value: float, dtype: np.dtype[Any]) -> str:
    """Return a number as text."""
    kind = _type(dtype)
    if kind == "bool":
        return "true" if value else "false"
    if kind in ("int", "long long"):
        return f"({kind})({int(value)})"
    number = float(np.float32(value)) if kind == "float" else float(value)
    if math.isnan(number):
        return f"nnb_nan<{kind}>()"
    if math.isinf(number):
        return f"{'-' if number < 0 else ''}nnb_infinity<{kind}>()"
    if kind == "double":
        return f"double({number!r})"
    return f"float({np.format_float_scientific(np.float32(number))}f)"


def _aligned(index: Index, shape: tuple[int, ...]) -> Index:
    """Return the index into an array that is broadcast to what ``index`` goes over."""
    inner = index[len(index) - len(shape) :]
    return tuple("0" if n == 1 else i for i, n in zip(inner, shape, strict=True))


def _indented(lines: Sequence[str], by: int = 4) -> list[str]:
    return [" " * by + line for line in lines]
