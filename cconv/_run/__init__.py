"""Runs what has been planned: holds programs ready in C structs, allocates, and calls kernels without the GIL.

entry      the per-call path: a call's key, its runner, the check of `out`
runner     what a key finds; what all programs share
conv pool gradients
           programs: a strategy filled into C structs, and run; conv and pool also without the GIL, for capi
elementwise moves planes sums
           moves of data, conversions and sums that surround the kernels, on the same threads
operand    the buffers of a call's arrays, held and released; drive: how many threads share a kernel's items
memory     workspaces and the blocks of outputs
threads    the pool of threads (workers.h), how many a call may use, and signals
"""

from .. import _cpu
from .._version import check_stamp
from . import (
    conv,
    elementwise,
    entry,
    gradients,
    memory,
    moves,
    planes,
    pool,
    runner,
    sums,
    threads,
)  # fmt: skip
from .memory import drop_kept, fresh
from .threads import get_num_threads, kind, limit_here, set_num_threads

for module in (
    threads, memory, runner, conv, pool, gradients, entry, elementwise, moves, planes, sums,
):  # fmt: skip
    check_stamp(module, _cpu.stamp)

__all__ = ["drop_kept", "fresh", "get_num_threads", "kind", "limit_here", "set_num_threads"]
