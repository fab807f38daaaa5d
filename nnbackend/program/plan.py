"""From what a step did to the launches that do it: kernels and products, in order, and their memory.

What is put into memory (a *root*) is little: what a step stores, what a matrix product takes and gives,
and sums. All else is computed inside the kernels, where it is needed. Roots that one kernel can compute
are put together. The order keeps to what the step did: nothing is read before it is written, or after it
has been written over.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbackend.program.operations import REDUCTIONS
from nnbackend.program.source import Kernel, Place, Root, Unfusible, kernel
from nnbackend.program.trace import External, Node, Store, Untraceable

__all__ = ["Matrix", "Plan", "Product", "plan"]

_MOST = 1 << 30  # numbers in an array: an index and a stride added to it have to be ints


@dataclass(frozen=True)
class Matrix:
    """A matrix as it lies in memory, and whether it is transposed in a product.

    Attributes:
        place: where it lies, in one piece.
        shape: of what lies there.
        transposed: whether the product takes its transpose.
        dtype: of its numbers.
    """

    place: Place
    shape: tuple[int, int]
    transposed: bool
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Product:
    """The product of two matrices, into a third.

    Attributes:
        a: the first.
        b: the second.
        out: what it is put into.
        bias: where a row lies that is added to each of its rows, or None.
        activation: what is then done to it: ``"relu"`` or None.
    """

    a: Matrix
    b: Matrix
    out: Matrix
    bias: Place | None = None
    activation: str | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """Where its matrices lie, and its bias."""
        bias = () if self.bias is None else (self.bias,)
        return self.a.place, self.b.place, self.out.place, *bias


@dataclass(frozen=True)
class Plan:
    """A program that has no memory yet.

    Attributes:
        launches: kernels and products, in order.
        buffers: the bytes of each piece of memory for what is between launches.
        pieces: for each node that lies in one, its number.
    """

    launches: list[Kernel | Product]
    buffers: list[int]
    pieces: dict[Node, int]


@dataclass(frozen=True)
class _Epilogue:
    """What a product does to its result before it puts it into memory."""

    product: Node
    bias: Node
    activation: str | None


def plan(stores: Sequence[Store], epilogues: Collection[str | None] = ()) -> Plan:
    """Return the plan that makes the stores.

    Args:
        stores: all that a step stores.
        epilogues: what products can do after adding a bias: ``"relu"``, or nothing more (None).

    Raises:
        Untraceable: they cannot be made in an order that keeps to what is read and written.
    """
    builder = _Builder(stores, epilogues)
    launches = builder.launches()
    return Plan(launches, *_memory(launches))


@dataclass(frozen=True)
class _Reads:
    """What a root reads.

    Attributes:
        nodes: in memory that the program makes.
        memory: that stays, with the place in time.
    """

    nodes: set[Node]
    memory: list[tuple[External, int]]


class _Builder:
    """Finds the roots of a program and puts them into an order and into kernels."""

    def __init__(self, stores: Sequence[Store], epilogues: Collection[str | None]) -> None:
        self._places: dict[Node, Place] = {}
        users = self._users(stores)
        found = self._find(stores)
        possible = {node: _epilogue(node, users) for node in found}
        self._epilogues = {
            node: epilogue
            for node, epilogue in possible.items()
            if epilogue is not None and epilogue.activation in epilogues
        }
        for epilogue in self._epilogues.values():
            found.remove(epilogue.product)
            if epilogue.bias.operation != "array":
                found.add(epilogue.bias)
        # In the order of their numbers.
        self._materials = dict.fromkeys(sorted(found, key=lambda node: node.number))
        direct = {}  # what is computed right where it is stored
        for store in stores:
            source = _same_numbers(store.value)
            if self._goes_direct(source, store, users):
                direct[source] = store
        for node in self._materials:
            self._places[node] = Place(direct[node].target if node in direct else node)
        self._roots = [root for node in self._materials for root in self._made(node, direct)]
        direct_stores = {id(store) for store in direct.values()}
        self._roots += [
            Root(store.value, "map", Place(store.target), store.number, store.at)
            for store in stores
            if id(store) not in direct_stores
        ]
        self._roots.sort(key=lambda root: root.number)
        self._stores = {id(root): root for root in self._roots if _stays(root)}
        self._reads = {id(root): self._read(root) for root in self._roots}

    def launches(self) -> list[Kernel | Product]:
        """Return the launches in order."""
        waiting = self._waiting_for()
        launches: list[Kernel | Product] = []
        done: set[int] = set()
        left = _units(self._roots, waiting)
        while left:
            group, new = self._next(left, waiting, done)
            if not group:
                raise Untraceable("it reads what it has written over")
            launches += new
            done |= {id(root) for root in group}
            left = [unit for unit in left if id(unit[0]) not in done]
        return launches

    def _next(
        self, left: list[list[Root]], waiting: dict[int, set[int]], done: set[int]
    ) -> tuple[list[Root], list[Kernel | Product]]:
        """Return the roots that can come next: as many as one kernel can compute, or a product."""
        group: list[Root] = []
        kernels: list[Kernel] = []
        for unit in left:
            together = [*group, *unit]
            needed = set[int]().union(*(waiting[id(root)] for root in unit))
            if needed - done - {id(root) for root in together}:
                continue
            if unit[0].kind == "product":
                if not group:
                    return unit, [self._product(unit[0])]
                continue
            if any(self._reads_stored(root, together) for root in unit):
                continue
            try:
                kernels = kernel(together, self._place)
            except Unfusible:
                continue
            group = together
        return group, list(kernels)

    def _place(self, node: Node) -> Place | None:
        if node.operation == "array":
            return Place(node.detail)
        return self._places.get(node)

    def _find(self, stores: Sequence[Store]) -> set[Node]:
        """Return the nodes that have to be in memory."""
        found: set[Node] = set()
        reachable = _reachable(stores)
        sizes = [math.prod(store.target.array.shape) for store in stores]
        if max(sizes + [node.size for node in reachable]) >= _MOST:
            raise Untraceable("an array has more numbers than an int can count")
        for node in reachable:
            if node.operation == "matmul":
                found |= {node, *(_lying(arg)[0] for arg in node.args)}
            elif node.operation in REDUCTIONS or node.operation == "concat":
                found.add(node)
        return {node for node in found if node.operation != "array"}

    def _users(self, stores: Sequence[Store]) -> dict[Node, int]:
        """Return how often each node is used."""
        users: dict[Node, int] = {}
        used = [arg for node in _reachable(stores) for arg in node.args]
        used += [n for s in stores for n in (s.value, s.at) if n is not None]
        for node in used:
            users[node] = users.get(node, 0) + 1
        return users

    def _goes_direct(self, source: Node, store: Store, users: dict[Node, int]) -> bool:
        """Return whether a node can be computed right where it is stored."""
        return (
            source in self._materials
            and source.operation in (*REDUCTIONS, "matmul")
            and store.at is None
            and users[source] == 1
            and (source is store.value or users[store.value] == 1)
            and not _reads_memory(source, store.target)  # a product cannot be computed in place
        )

    def _made(self, node: Node, direct: dict[Node, Store]) -> list[Root]:
        """Return the roots that make a node in memory."""
        place = self._places[node]
        if node.operation == "concat":
            return self._parts(node)
        kind = "map"
        if node.operation == "matmul" or node in self._epilogues:
            kind = "product"
        elif node.operation in REDUCTIONS:
            kind = node.detail
        return [Root(node, kind, place, direct[node].number if node in direct else node.number)]

    def _parts(self, node: Node) -> list[Root]:
        roots, start = [], 0
        for arg in node.args:
            roots.append(Root(arg, "map", Place(node, start), node.number))
            start += arg.size
        return roots

    def _is_at(self, root: Root, node: Node) -> bool:
        """Return whether a root is what puts a node into memory."""
        return root.value is node and self._places[node] == root.place

    def _read(self, root: Root) -> _Reads:
        """Return what a root reads."""
        reads = _Reads(set(), [])
        seen: set[Node] = set()

        def visit(node: Node, number: int, top: bool = False) -> None:
            if node.operation == "array":
                reads.memory.append((node.detail, number))
            elif not top and node in self._places:
                reads.nodes.add(node)
            elif node not in seen:
                seen.add(node)
                for arg in node.args:
                    visit(arg, node.number)

        made_here = root.value in self._places and self._is_at(root, root.value)
        visit(root.value, root.number, top=made_here)
        if root.at is not None:
            visit(root.at, root.number)
        return reads

    def _waiting_for(self) -> dict[int, set[int]]:
        """Return for each root those that have to come before it."""
        makers: dict[Node, list[int]] = {}
        for root in self._roots:
            for node in self._materials:
                if root.place.memory is node or self._is_at(root, node):
                    makers.setdefault(node, []).append(id(root))
        waiting: dict[int, set[int]] = {id(root): set() for root in self._roots}
        for root in self._roots:
            for node in self._reads[id(root)].nodes:
                waiting[id(root)] |= set(makers[node])
        stores = list(self._stores.values())
        for i, store in enumerate(stores):
            memory: Any = store.place.memory
            for earlier in stores[:i]:
                if memory.overlaps(earlier.place.memory):
                    waiting[id(store)].add(id(earlier))
            for root in self._roots:
                for external, number in self._reads[id(root)].memory:
                    if root is store or not external.overlaps(memory):
                        continue
                    if number > store.number:
                        waiting[id(root)].add(id(store))
                    else:
                        waiting[id(store)].add(id(root))
        return waiting

    def _reads_stored(self, root: Root, group: Iterable[Root]) -> bool:
        """Return whether a root reads memory that one of the group writes into before."""
        return any(
            number > other.number and external.overlaps(other.place.memory)
            for external, number in self._reads[id(root)].memory
            for other in group
            if isinstance(other.place.memory, External)
        )

    def _product(self, root: Root) -> Product:
        node, epilogue = root.value, self._epilogues.get(root.value)
        out = Matrix(root.place, (node.shape[0], node.shape[1]), False, node.dtype)
        if epilogue is None:
            a, b = map(self._matrix, node.args)
            return Product(a, b, out)
        a, b = map(self._matrix, epilogue.product.args)
        return Product(a, b, out, self._place(epilogue.bias), epilogue.activation)

    def _matrix(self, operand: Node) -> Matrix:
        lying, transposed = _lying(operand)
        rows, columns = operand.shape
        shape = (columns, rows) if transposed else (rows, columns)
        place = self._place(lying)
        assert place is not None  # all operands are in memory
        return Matrix(place, shape, transposed, operand.dtype)


def _units(roots: Sequence[Root], waiting: dict[int, set[int]]) -> list[list[Root]]:
    """Return the roots in order, those together of which each has to come before the other.

    Each of them reads what the other writes over: so one kernel has to read both, and then write.
    """
    units: list[list[Root]] = []
    for root in roots:
        bound = [
            unit
            for unit in units
            if any(id(r) in waiting[id(root)] and id(root) in waiting[id(r)] for r in unit)
        ]
        for unit in bound:
            units.remove(unit)
        units.append([r for unit in bound for r in unit] + [root])
    return units


def _epilogue(node: Node, users: dict[Node, int]) -> _Epilogue | None:
    """Return what is to be done to a product for a node: ``a @ b + bias``, or the ReLU of that."""
    activation, total = None, node
    if node.operation == "maximum" and node.args[1].detail == 0.0:
        activation, total = "relu", node.args[0]
    if total.operation != "add" or (activation and users[total] > 1):
        return None
    product, bias = total.args
    if product.operation != "matmul" or users[product] > 1 or bias.shape != product.shape[1:]:
        return None
    return _Epilogue(product, bias, activation)


def _stays(root: Root) -> bool:
    return isinstance(root.place.memory, External)


def _lying(operand: Node) -> tuple[Node, bool]:
    """Return what has to lie in memory for an operand of a product, and whether it is transposed."""
    transposed = operand.operation == "transpose"
    node = operand.args[0] if transposed else operand
    return _same_numbers(node), transposed


def _same_numbers(node: Node) -> Node:
    """Return the node whose numbers, in their order, are those of this one."""
    while node.operation == "reshape":
        node = node.args[0]
    return node


def _reads_memory(node: Node, memory: External) -> bool:
    """Return whether a node depends on what lies in some memory."""
    return any(
        other.operation == "array" and other.detail.overlaps(memory) for other in _below([node])
    )


def _reachable(stores: Sequence[Store]) -> list[Node]:
    """Return all nodes that the stores depend on."""
    return _below([n for store in stores for n in (store.value, store.at) if n is not None])


def _below(nodes: Sequence[Node]) -> list[Node]:
    """Return nodes and all that they depend on."""
    found: dict[Node, None] = {}
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = None
            stack += node.args
    return list(found)


def _memory(launches: Sequence[Kernel | Product]) -> tuple[list[int], dict[Node, int]]:
    """Return the sizes of the pieces of memory between launches, and which node lies in which.

    A piece is used again when its node has been read for the last time.
    """
    last: dict[Node, int] = {}
    for i, launch in enumerate(launches):
        for place in launch.places:
            if isinstance(place.memory, Node):
                last[place.memory] = i
    sizes: list[int] = []
    pieces: dict[Node, int] = {}
    free: list[int] = []
    for i, launch in enumerate(launches):
        for place in launch.places:
            node = place.memory
            if isinstance(node, Node) and node not in pieces:
                pieces[node] = _piece(_bytes(node), sizes, free)
        free += [pieces[node] for node, end in last.items() if end == i]
    return sizes, pieces


def _piece(size: int, sizes: list[int], free: list[int]) -> int:
    """Return a free piece of a size: the smallest that is large enough, or a new one."""
    fitting = [piece for piece in free if size <= sizes[piece]]
    if fitting:
        piece = min(fitting, key=lambda piece: sizes[piece])
        free.remove(piece)
        return piece
    sizes.append(size)
    return len(sizes) - 1


def _bytes(node: Node) -> int:
    return max(256, math.ceil(node.size * node.dtype.itemsize / 256) * 256)
