"""Places for the nodes of a graph: columns from left to right, and few crossings.

The longest path to a node gives its column. A connection over several columns has a narrow stand-in in
each column between, so that it goes around the nodes. Each column is put in the order of the mean place
of the neighbors, forward and backward, several times; the order with the fewest crossings is kept. Then
heights: as near to the neighbors as the order and the sizes of the nodes allow.

Source: Sugiyama, Tagawa, Toda (1981), IEEE Transactions on Systems, Man, and Cybernetics 11(2).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Arranged", "Size", "arrange"]

_SWEEPS = 6
_MOST_STAND_INS = 4000  # with more, long connections go straight
_GAP = 20.0  # between nodes of a column
_LANE = 8.0  # what a stand-in takes above and below

Edge = tuple[str, str]


@dataclass(frozen=True)
class Size:
    """The size of a node: how far it goes above and below where its connections meet it."""

    width: float
    above: float
    below: float


@dataclass(frozen=True)
class Arranged:
    """The places found.

    Attributes:
        columns: the names of the nodes in each column, from top to bottom.
        heights: for each node how far down its connections meet it.
        routes: for each edge over several columns, its height in each of the columns between.
    """

    columns: list[list[str]]
    heights: dict[str, float]
    routes: dict[Edge, list[float]]


def arrange(sizes: Mapping[str, Size], edges: Sequence[Edge]) -> Arranged:
    """Return places for nodes; they are named in an order in which each comes after its sources."""
    column_of = _columns(sizes, edges)
    stand_ins = _stand_ins(column_of, edges)
    links: list[Edge] = []
    for edge in edges:
        path = [edge[0], *stand_ins.get(edge, ()), edge[1]]
        links += pairwise(path)
    columns: list[list[str]] = [[] for _ in range(max(column_of.values(), default=0) + 1)]
    for (source, _), names in stand_ins.items():  # first: they go above the nodes
        for i, name in enumerate(names):
            columns[column_of[source] + 1 + i].append(name)
    for name, i in column_of.items():
        columns[i].append(name)
    before, after = _neighbors(links)
    columns = _ordered(columns, before, after)
    lane = Size(0.0, _LANE, _LANE)
    heights = _heights(
        columns, before, after, {n: lane for s in stand_ins.values() for n in s} | dict(sizes)
    )
    return Arranged(
        [[name for name in column if name in sizes] for column in columns],
        {name: heights[name] for name in sizes},
        {edge: [heights[name] for name in names] for edge, names in stand_ins.items()},
    )


def _columns(names: Mapping[str, Size], edges: Sequence[Edge]) -> dict[str, int]:
    """Return the column of each node; one without sources is just before what takes it."""
    targets: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        targets[source].append(target)
    column_of = dict.fromkeys(names, 0)
    for name in names:
        for target in targets[name]:
            column_of[target] = max(column_of[target], column_of[name] + 1)
    with_source = {target for _, target in edges}
    for name in names:
        if name not in with_source and targets[name]:
            column_of[name] = min(column_of[t] for t in targets[name]) - 1
    return column_of


def _stand_ins(column_of: Mapping[str, int], edges: Sequence[Edge]) -> dict[Edge, list[str]]:
    """Return names of stand-ins in the columns between the ends of each long edge."""
    spans = {(a, b): column_of[b] - column_of[a] - 1 for a, b in edges}
    if sum(spans.values()) > _MOST_STAND_INS:
        return {}
    # A NUL is in no node's name.
    return {
        (a, b): [f"{a}\0{b}\0{i}" for i in range(span)]
        for (a, b), span in spans.items()
        if span > 0
    }


def _neighbors(links: Sequence[Edge]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the names before, and after, each name."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for a, b in links:
        after.setdefault(a, []).append(b)
        before.setdefault(b, []).append(a)
    return before, after


def _ordered(
    columns: list[list[str]], before: Mapping[str, list[str]], after: Mapping[str, list[str]]
) -> list[list[str]]:
    """Return the columns in the order with the fewest crossings that was found."""
    best, fewest = columns, _crossings(columns, after)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        neighbors, step = (before, 1) if sweep % 2 == 0 else (after, -1)
        columns = [[*column] for column in columns]
        place: dict[str, float] = {}
        for column in columns[::step]:
            for i, name in enumerate(column):
                near = [place[other] for other in neighbors.get(name, ()) if other in place]
                place[name] = sum(near) / len(near) if near else float(i)
            column.sort(key=place.__getitem__)  # stable
            place.update((name, float(i)) for i, name in enumerate(column))
        found = _crossings(columns, after)
        if found < fewest:
            best, fewest = columns, found
    return best


def _crossings(columns: list[list[str]], after: Mapping[str, list[str]]) -> int:
    """Return how often links between neighboring columns cross."""
    place = {name: i for column in columns for i, name in enumerate(column)}
    count = 0
    for column in columns:
        ends: list[int] = []
        for name in column:
            new = [place[other] for other in after.get(name, ())]
            count += sum(len(ends) - bisect_right(ends, end) for end in new)
            for end in new:
                insort(ends, end)
    return count


def _heights(
    columns: list[list[str]],
    before: Mapping[str, list[str]],
    after: Mapping[str, list[str]],
    sizes: Mapping[str, Size],
) -> dict[str, float]:
    """Return the height of each name: near its neighbors, in order, and without overlap."""
    heights: dict[str, float] = {}
    for sweep in range(1 + _SWEEPS):
        neighbors, step = (before, 1) if sweep % 2 == 0 else (after, -1)
        for column in columns[::step]:
            wanted = [_wanted(name, neighbors.get(name, ()), heights) for name in column]
            heights.update(_spread(column, wanted, sizes))
    return heights


def _wanted(name: str, neighbors: Sequence[str], heights: Mapping[str, float]) -> float:
    """Return the height that a name would like: the median of its neighbors', first of nodes alone."""
    nodes = [heights[other] for other in neighbors if "\0" not in other]
    near = nodes or [heights[other] for other in neighbors]
    return _median(near) if near else heights.get(name, 0.0)


def _spread(
    column: Sequence[str], wanted: Sequence[float], sizes: Mapping[str, Size]
) -> dict[str, float]:
    """Return the heights nearest to those wanted at which nodes do not overlap.

    Without the distances that nodes must have, that is a regression to rising numbers: neighbors in the
    wrong order are pooled, and get their median. Stand-ins make way for nodes.
    """
    offsets, offset = [], 0.0
    for i, name in enumerate(column):
        if i:
            offset += sizes[column[i - 1]].below + _GAP + sizes[name].above
        offsets.append(offset)
    pools: list[tuple[float, list[float], list[float]]] = []  # median, of nodes, of stand-ins
    for name, want, offset in zip(column, wanted, offsets, strict=True):
        nodes, others = ([], [want - offset]) if "\0" in name else ([want - offset], [])
        middle = want - offset
        while pools and pools[-1][0] > middle:
            _, more_nodes, more_others = pools.pop()
            nodes, others = more_nodes + nodes, more_others + others
            middle = _median(nodes or others)
        pools.append((middle, nodes, others))
    middles = [middle for middle, nodes, others in pools for _ in range(len(nodes) + len(others))]
    return {n: m + o for n, m, o in zip(column, middles, offsets, strict=True)}


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
