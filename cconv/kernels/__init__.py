"""The kernels. One source serves every element type and instruction set (simd.h): the compiled modules are
cconv.kernels.<isa>.<dtype>.<module>, and each holds the tables of its kernels (job.pxd: KernelTable).

Kernel -> when it is used -> files; the choice itself is _plan/choose.py.

gemm         dense and grouped convolution                                     conv.pyx, gemm.pxd, vectors.pxd
rows         few output channels a group: depthwise, image filters             conv.pyx, rows.pxd
taps         slabs that would not fit the workspace (100,000 dilated taps)     conv.pyx, taps.pxd
phases       transposed convolutions with stride: phases along W, interleaved  conv.pyx, gemm.pxd, phases.pxd
winograd     3 or 5 taps along one axis or two, where it pays                  winograd.pyx, patches.pxd, transforms.pxd
weight_grad  gradients of convolutions by their weights                        weight_grad.pyx, outer.pxd, dots.pxd
weight_taps  the same where slabs would not fit                                weight_grad.pyx
pool         maximum, sum and average; indices; adaptive windows               pool.pyx, across.pxd, tapped.pxd
pool_grad    gradients of pools by their input                                 pool_grad.pyx, argmax.pxd
convert      float16 and bfloat16 from and to float32                          convert.pyx, half.h

Shared: job.pxd (what plans and the runner fill in), items.pxd (sizes in whole items), box.pxd, slab.pxd (the padded
copy), tile.pxd (the register tile), spread.pxd (rows of pools), simd.pxd and extrema.pxd (the vectors of simd.h,
shuffle.h and extrema.h). What is in a .pxd is inlined, always, at each of its calls: a large function has one.

Glossary: one meaning each.

slab      the zero-padded copy of the input rows that a box of outputs reads
strands   the slab's columns, de-interleaved by the stride: every tap reads a contiguous run; where it is flat, the rows too
gathered  a slab of only the rows that taps touch, tap behind tap: of dilations longer than a box
flat      of gemm: vectors run on from one slab row into the next; of a strategy: the spatial axes are one
rows      lines along W of an array; the kernel of this name reads them in place
box       output positions of one item; item: what one thread takes, about a millisecond at most
tile      the register tile: tile_rows (MR) output channels x 2 vectors of positions
patch     Winograd's T x T input tile
panel     NR positions x K terms of input, filled for the tile
packed    weights in a kernel's own order
kw_first  order of summation c, kd, kw, kh, where neighbouring rows may share their loads
phases    the stride-1 convolutions that a transposed convolution consists of
across    dot products of a weight gradient that run across the rows of a plane
kept      reduced rows of a pool that all windows of an item share
tapped    maxima whose indices are found by the number of their tap
"""

from enum import StrEnum


class Kernel(StrEnum):
    """The kernels, by the names of their tables."""

    GEMM = "gemm"
    ROWS = "rows"
    TAPS = "taps"
    PHASES = "phases"
    WINOGRAD = "winograd"
    POOL = "pool"
    WEIGHT_GRAD = "weight_grad"
    WEIGHT_TAPS = "weight_taps"
    POOL_GRAD = "pool_grad"


# the compiled module that holds a kernel's table
MODULES = {
    Kernel.GEMM: "conv",
    Kernel.ROWS: "conv",
    Kernel.TAPS: "conv",
    Kernel.PHASES: "conv",
    Kernel.WINOGRAD: "winograd",
    Kernel.WEIGHT_GRAD: "weight_grad",
    Kernel.WEIGHT_TAPS: "weight_grad",
    Kernel.POOL: "pool",
    Kernel.POOL_GRAD: "pool_grad",
    "convert": "convert",
}
