"""The kernels. One source serves every element type and instruction set (simd.h): the compiled modules are
cconv.kernels.<isa>.<dtype>.<module>, and each holds the tables of its kernels (job.pxd: KernelTable).

Kernel -> when it is used -> files; the choice itself is _plan/choose.py.

gemm         dense and grouped convolution                                     conv.pyx, gemm.pxd, vectors.pxd
inner        1x1 on planes of few positions, whole-input kernels           conv.pyx, inner.pxd
turned       1x1 on planes that would fill panels badly                        conv.pyx, turned.pxd
rows         few output channels a group: depthwise, image filters             conv.pyx, rows.pxd
int8         convolutions of bytes in sums of 32 bits, dense and grouped        int8.pyx, units.pxd, int8.h
int8_rows    the same with few output channels a group                         int8.pyx, units.pxd
lanes        many small groups (depthwise) on planes that repay transposing    lanes.pyx
taps         slabs that would not fit the workspace (100,000 dilated taps)     conv.pyx, taps.pxd
phases       transposed convolutions with stride, all phases at once  phases.pyx, groups.pxd, inputs.pxd, interleave.pxd
winograd     3 or 5 taps along one axis or two, where it pays                  winograd.pyx, patches.pxd, transforms.pxd
weight_grad  gradients of convolutions by their weights                        weight_grad.pyx, outer.pxd, dots.pxd
weight_taps  the same where slabs would not fit                                weight_grad.pyx
pool         maximum, sum, average of rows; indices; adaptive windows          pool.pyx, across.pxd, tapped.pxd
pool_lanes   the same of short rows: planes side by side, a lane each          pool.pyx, band.pxd, beside.pxd
pool_runs    windows that hardly overlap, in long runs: global pools           pool.pyx, runs.pxd
pool_grad    gradients of pools by their input                                 pool_grad.pyx, argmax.pxd, apart.pxd
activate     activations of rows                                               activate.pyx, activate.h
convert      float16 and bfloat16 from and to float32                          convert.pyx, half.h

Shared: job.pxd (what plans and the runner fill in), items.pxd (sizes in whole items), box.pxd, slab.pxd (the padded
copy), tile.pxd (the register tile), lane_tile.pxd (that of lanes), spread.pxd and doubled.pxd (rows of pools, large
windows), simd.pxd, extrema.pxd and reduce.pxd (the vectors of simd.h, shuffle.h, extrema.h and reduce.h). What is in a
.pxd is inlined, always, at each of its calls: a large function has one.

Glossary: one meaning each.

slab      the zero-padded copy of the input rows that a box of outputs reads
strands   the slab's columns, and its rows where it is flat, de-interleaved by the stride: taps read contiguous runs
gathered  a slab of only the rows that taps touch, tap behind tap: of dilations longer than a box
flat      of gemm: vectors run on from one slab row into the next; of a strategy: the spatial axes are one
rows      lines along W of an array; the kernel of this name reads them in place
box       output positions of one item; item: what one thread takes, about a millisecond at most
tile      the register tile: tile_rows (MR) output channels x 2 vectors of positions
patch     Winograd's T x T input tile
unit      32 bits of neighbouring terms of small integers, which one instruction multiplies and adds up
panel     NR positions x K terms of input, filled for the tile
packed    weights in a kernel's own order
kw_first  order of summation c, kd, kw, kh, where neighbouring rows may share their loads
phases    the stride-1 convolutions that a transposed convolution consists of; groups of them read the same inputs
across    dot products of a weight gradient that run across the rows of a plane
lanes     of pools: planes side by side in one vector; of convolutions: groups, a lane each
runs      contiguous elements of a pool's windows
apart     windows of a pool of which no two share an input
kept      reduced rows of a pool that all windows of an item share
tapped    maxima whose indices are found by the number of their tap
"""

from enum import StrEnum


class Kernel(StrEnum):
    """The kernels, by the names of their tables."""

    GEMM = "gemm"
    INNER = "inner"
    TURNED = "turned"
    ROWS = "rows"
    LANES = "lanes"
    TAPS = "taps"
    PHASES = "phases"
    INT8 = "int8"
    INT8_ROWS = "int8_rows"
    WINOGRAD = "winograd"
    POOL = "pool"
    POOL_LANES = "pool_lanes"
    POOL_RUNS = "pool_runs"
    WEIGHT_GRAD = "weight_grad"
    WEIGHT_TAPS = "weight_taps"
    POOL_GRAD = "pool_grad"


# the compiled module that holds a kernel's table
MODULES = {
    Kernel.GEMM: "conv",
    Kernel.INNER: "conv",
    Kernel.TURNED: "conv",
    Kernel.ROWS: "conv",
    Kernel.LANES: "lanes",
    Kernel.TAPS: "conv",
    Kernel.PHASES: "phases",
    Kernel.INT8: "int8",
    Kernel.INT8_ROWS: "int8",
    Kernel.WINOGRAD: "winograd",
    Kernel.WEIGHT_GRAD: "weight_grad",
    Kernel.WEIGHT_TAPS: "weight_grad",
    Kernel.POOL: "pool",
    Kernel.POOL_LANES: "pool",
    Kernel.POOL_RUNS: "pool",
    Kernel.POOL_GRAD: "pool_grad",
    "convert": "convert",
    "activate": "activate",
}
