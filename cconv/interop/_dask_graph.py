"""The graph of a block-wise operation: one task an output block, one more for every part of a block that it reads."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import dask.array as da
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ._dask_pieces import Segment, segments
from ._dask_tasks import cut, pick, run_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._dask_pieces import Piece

Key = tuple[Any, ...]


class Parts:
    """The parts of an array's blocks that are read: their keys, and the tasks that cut them out, each once."""

    def __init__(self, x: Any, rank: int, name: str) -> None:
        self.x, self.lead, self.name = x, x.ndim - rank, name
        self.tasks: dict[Key, Key] = {}

    def key(self, head: tuple[int, ...], at: tuple[Segment, ...]) -> Key:
        """Of the part `at` of the blocks whose batch and channels are `head`; a whole block is its own part."""
        blocks = tuple(block for block, _, _ in at)
        whole = (self.x.name, *head, *blocks)
        sizes = [c[b] for c, b in zip(self.x.chunks[self.lead :], blocks, strict=True)]
        if all((a, b) == (0, n) for (_, a, b), n in zip(at, sizes, strict=True)):
            return whole
        key = (self.name, *head, *blocks, *(corner for _, a, b in at for corner in (a, b)))
        if key not in self.tasks:
            index = (slice(None),) * self.lead + tuple(slice(a, b) for _, a, b in at)
            self.tasks[key] = (cut, whole, index)
        return key

    def keys(
        self, head: tuple[int, ...], axes: list[list[Segment]], at: tuple[Segment, ...] = ()
    ) -> Any:
        """Of the parts that an output block reads: a list of lists ..., one level an axis."""
        if not axes:
            return self.key(head, at)
        return [self.keys(head, axes[1:], (*at, segment)) for segment in axes[0]]


def build(
    name: str,
    x: Any,
    channels: int | None,
    axes: list[list[Piece]],
    compute: Callable[..., Any],
    others: tuple[Any, ...],
    dtypes: tuple[Any, ...],
) -> tuple[Any, ...]:
    """Lazy arrays of these dtypes.

    `channels`: of the output, where the input's are one chunk; None keeps the input's.
    """
    rank, lead = len(axes), x.ndim - len(axes)
    token = tokenize(x.name, channels, axes, compute, [o.name for o in others])
    out = f"{name}-{token}"
    parts = Parts(x, rank, f"{name}-input-{token}")
    ends = [[0, *itertools.accumulate(c)] for c in x.chunks[lead:]]
    read = [[segments(e, piece) for piece in pieces] for e, pieces in zip(ends, axes, strict=True)]
    extra = [(o.name, *(0,) * o.ndim) for o in others]
    graph: dict[Key, Key] = {}
    heads = itertools.product(*(range(n) for n in x.numblocks[:lead]))
    cells = itertools.product(*(range(len(pieces)) for pieces in axes))
    for head, cell in itertools.product(heads, cells):
        pieces = tuple(p[i] for p, i in zip(axes, cell, strict=True))
        inputs = parts.keys(head, [r[i] for r, i in zip(read, cell, strict=True)])
        graph[(out, *head, *cell)] = (run_block, compute, pieces, inputs, *extra)
    graph |= parts.tasks
    first = x.chunks[:lead] if channels is None else (*x.chunks[: lead - 1], (channels,))
    chunks = (*first, *(tuple(p.outputs for p in pieces) for pieces in axes))
    layers = HighLevelGraph.from_collections(out, graph, dependencies=[x, *others])
    if len(dtypes) == 1:
        return (da.Array(layers, out, chunks, dtype=dtypes[0]),)
    names = (f"{name}-values-{token}", f"{name}-indices-{token}")
    return tuple(picked(layers, out, i, names[i], chunks, dtype) for i, dtype in enumerate(dtypes))


def picked(layers: Any, results: str, i: int, name: str, chunks: Any, dtype: Any) -> Any:
    """The array of the i-th results of the tasks `results`."""
    blocks = itertools.product(*(range(len(c)) for c in chunks))
    picks = {(name, *block): (pick, (results, *block), i) for block in blocks}
    graph = HighLevelGraph({**layers.layers, name: picks}, {**layers.dependencies, name: {results}})
    return da.Array(graph, name, chunks, dtype=dtype)
