"""Which kernel, which blocks, how much workspace: integers in, a plan out. No array comes near this file.

The choice, in order. None of it depends on the batch or the number of threads: a sample has the same bits alone.

rows  up to ROWS_CHANNELS output channels a group: packing panels would cost as much as multiplying them.
winograd  undilated 3 x 3, 1 x 3 and 3 x 3 x 3 kernels of stride 1, where the cost model says that it is faster. F(4)
      needs WINOGRAD_TERMS channels times taps along D: fewer would break the promise that no default algorithm has
      more than 4 times the rms error of sequential summation. F(2) has less error than that. A dilated layer is
      planned as the undilated ones that it interleaves.
gemm  everything else: an implicit GEMM on the register tile.
fft   kernels of 256 taps and more where the cost model of `fft_pays` says so (cconv/_fft.py).
taps  when even the smallest slab of padded input would not fit SLAB_MOST (dilations of thousands).

Blocks are sized for the caches: a panel of one k block for L1, slab, panels and a block of weights for L2.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from ._problem import ConvProblem, PoolProblem, Three

L1 = 32 * 1024
L2 = 512 * 1024
SLAB_MOST = 16 * 2**20  # bytes; with the panels below the promised 32 MiB a thread
ROWS_CHANNELS = 3
WIDE_WINDOW = 512  # terms in a row from which a float32 average accumulates in float64
FFT_BLOCK = 2**19  # values
FFT_MOST = 24 * 2**20  # bytes
UNPACKED_TERMS = 640
WINOGRAD_TERMS = 32
WINOGRAD_BLOCK = 2**20
WINOGRAD_MOST = 24 * 2**20  # bytes of transformed weights that a call without prepack may hold
# Gradients pack weights once for a whole batch, which decides whether Winograd pays. As if every batch were this large:
# a choice by the real size would give a sample other bits alone than in a batch.
TRAINING_BATCH = 8
KERNELS = ("gemm", "rows", "taps", "winograd")


class ConvPlan(NamedTuple):
    """Fields as in kernels/job.pxd."""

    kernel: int
    step: Three
    ss: Three
    sd: Three
    box: Three
    boxes: Three
    slab: Three
    phases: int
    row: int
    plane: int
    channel: int
    c_block: int
    t_block: int
    o_block: int
    panels: int
    tiles: Three
    slab_at: int
    panels_at: int
    in_place: bool
    workspace: int  # bytes of one thread
    reason: str
    tile: int = 0  # Winograd: 6 for F(4), 4 for F(2)
    samples: int = 1
    sample: int = 0
    group: int = 1
    dense: int = 0
    dense_at: int = 0


class WeightGradPlan(NamedTuple):
    """Fields as in kernels/job.pxd."""

    conv: ConvPlan
    by_lanes: bool
    flat: bool
    in_place: bool
    swapped: bool
    samples: int
    sample: int
    chunks: int
    c_blocks: int
    o_blocks: int
    run: int
    grads_at: int
    sums_at: int


class FftPlan(NamedTuple):
    block: Three  # transform lengths
    channels: int  # input and output channels whose spectra are held at once
    outputs: int
    reason: str


class PoolGradPlan(NamedTuple):
    """Fields as in kernels/job.pxd."""

    rows: int
    blocks: int
    outs: int
    pairs: bool
    doubled: bool
    workspace: int


class PoolPlan(NamedTuple):
    rows: int
    blocks: int
    workspace: int
    doubled: Three
    reason: str


def up(a: int, b: int) -> int:
    return -(-a // b)


def lines(size: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return up(size, 64) * 64


def flat(p: ConvProblem) -> bool:
    """One spatial axis only, unpadded and with stride 1."""
    return p.size[:2] == (1, 1) and p.before == (0, 0, 0) and p.stride == (1, 1, 1)


def steps(p: ConvProblem) -> tuple[Three, Three, Three]:
    """Only every step-th row is ever read, so a slab keeps only those; stride and dilation shrink with it."""
    step = [
        s if k == 1 else gcd(s, d) for s, k, d in zip(p.stride, p.kernel, p.dilation, strict=True)
    ]
    ss = [s // g for s, g in zip(p.stride, step, strict=True)]
    sd = [d // g if k > 1 else 1 for d, g, k in zip(p.dilation, step, p.kernel, strict=True)]
    return (step[0], step[1], step[2]), (ss[0], ss[1], ss[2]), (sd[0], sd[1], sd[2])


def slab_shape(p: ConvProblem, ss: Three, sd: Three, box: Three) -> tuple[int, int, int, int]:
    """(depths, rows, columns of a phase, phases) that a box of outputs reads, in one channel."""
    span = [(b - 1) * s + (k - 1) * d + 1 for b, s, k, d in zip(box, ss, p.kernel, sd, strict=True)]
    return span[0], span[1], box[2] + (p.kernel[2] - 1) * sd[2] // ss[2] + 1, ss[2]


def choose_box(p: ConvProblem, ss: Three, sd: Three, lanes: int, wanted: int) -> Three:
    """A box of about `wanted` outputs: whole rows if they are short, else a piece of a row in whole vectors."""
    od, oh, ow = p.out
    if ow > wanted:
        pieces = up(ow, wanted)
        width = min(ow, up(up(ow, pieces), 2 * lanes) * 2 * lanes)
    else:
        width = ow
    height = max(1, min(oh, wanted // width))
    if height < oh and height > 1:
        height = up(oh, up(oh, height))
    depth = max(1, min(od, wanted // (width * height))) if width == ow and height == oh else 1
    return depth, height, width


def winograd_positions(tile: int, high: int) -> int:
    """Transformed positions of a tile: both axes, or one if the kernel has one row."""
    return tile * tile if high == 3 else tile


def winograd_weights(terms: int, channels: int, tile: int, high: int) -> int:
    """Elements of a group's transformed weights; each position takes an odd number of cache lines."""
    return winograd_positions(tile, high) * (up(terms * channels, 16) | 1) * 16


def winograd_fits(p: ConvProblem, tile: int, itemsize: int, packed: int) -> bool:
    """Whether the Winograd kernel can compute this at all, with the promised error and memory."""
    terms = p.C * p.kernel[0]
    return (
        p.kernel[2] == 3
        and p.kernel[1] in (1, 3)
        and p.stride == (1, 1, 1)
        and p.dilation == (1, 1, 1)
        and 0 not in p.size
        and (tile == 4 or terms >= WINOGRAD_TERMS)
        and 36 * 32 * itemsize * (terms + p.O) <= WINOGRAD_MOST
        and (
            packed is True
            or itemsize * p.G * winograd_weights(terms, p.O, tile, p.kernel[1]) <= WINOGRAD_MOST
        )
    )


def weight_cycles(elements: int, itemsize: int, reads: int) -> float:
    """Cycles to read weights so many times: from L3 what does not fit L2."""
    size = elements * itemsize
    return size * reads / (8 if size > L2 else 32)


def winograd_cycles(p: ConvProblem, tile: int, itemsize: int, lanes: int, packed: int) -> float:
    """Cycles of one sample, roughly: 2 vectors of multiply-adds a cycle; transforms as measured."""
    m, terms = tile - 2, p.C * p.kernel[0]
    high, positions = m if p.kernel[1] == 3 else 1, winograd_positions(tile, p.kernel[1])
    vectors = up(p.out[0] * up(p.out[1], high) * up(p.out[2], m), lanes)
    plan = winograd(p._replace(N=1), tile, itemsize, lanes)
    cost = vectors * (positions * terms * p.O / 2 + 10 * positions * (terms + p.O))
    cost += weight_cycles(winograd_weights(terms, p.O, tile, p.kernel[1]), itemsize, plan.boxes[0])
    if packed is not True:
        cost += (5 + 0.2 * positions) * terms * p.O * itemsize / 4 / max(1, packed)
    return cost


def direct_cycles(p: ConvProblem, itemsize: int, lanes: int) -> float:
    """The same for the implicit GEMM."""
    taps, terms = p.kernel[1] * p.kernel[2], p.C * p.kernel[0]
    vectors = up(p.out[0] * p.out[1] * p.out[2], lanes)
    cost = vectors * taps * (terms * p.O / 2 + 4 * terms)
    return cost + weight_cycles(taps * terms * p.O, itemsize, up(vectors, 48))


def winograd_tile(p: ConvProblem, itemsize: int, lanes: int, packed: int, forced: bool) -> int:
    """The tile that is fastest by the cost model: 6 for F(4), 4 for F(2), 0 where direct convolution is."""
    best, tile = (float("inf") if forced else 0.9 * direct_cycles(p, itemsize, lanes)), 0
    if not forced and p.O <= ROWS_CHANNELS:
        return 0
    for candidate in (6, 4):
        if winograd_fits(p, candidate, itemsize, packed):
            cost = winograd_cycles(p, candidate, itemsize, lanes, packed)
            if cost < best:
                best, tile = cost, candidate
    return tile


def winograd(p: ConvProblem, tile: int, itemsize: int, lanes: int) -> ConvPlan:
    """Panels of tiles an item: transformed input and products of about WINOGRAD_BLOCK bytes."""
    m = tile - 2
    high, positions = m if p.kernel[1] == 3 else 1, winograd_positions(tile, p.kernel[1])
    nr, terms = 2 * lanes, p.C * p.kernel[0]
    tiles = (1, up(p.out[1], high), up(p.out[2], m))
    total = max(1, up(p.N * p.out[0] * tiles[1] * tiles[2], nr))
    each = positions * nr * itemsize * (terms + p.O)
    panels = max(1, min(8, WINOGRAD_BLOCK // each))
    blocks = up(total, panels)
    panels = up(total, blocks)
    slab_at = lines((36 * (nr + lanes) + 8 * lanes + 4 * nr + 8 * lanes + 64) * itemsize)
    panels_at = slab_at + lines(positions * (panels * terms * nr * itemsize + 64))
    workspace = panels_at + lines(positions * (panels * p.O * nr * itemsize + 64))
    none, one = (0, 0, 0), (1, 1, 1)
    reason = (
        f"Winograd F({high}x{m}, {p.kernel[1]}x3): {positions} products a tile "
        f"for {high * m * p.kernel[1] * 3}"
    )
    return ConvPlan(
        3, one, one, one, (panels * nr, high, m), (blocks, 1, 1), none, 1, 0, 0, 0, terms, positions, p.O,
        panels, tiles, slab_at, panels_at, False, workspace, reason, tile,
    )  # fmt: skip


def fft_length(n: int) -> int:
    """The least product of powers of 2, 3 and 5 that is at least n."""
    best = 1 << max(0, n - 1).bit_length()
    for five in (1, 5, 25):
        for three in (1, 3, 9):
            m = five * three
            best = min(best, m << max(0, (up(n, m) - 1)).bit_length())
    return best


def fft(p: ConvProblem, itemsize: int) -> FftPlan:
    """Blocks of some times the kernel, of at most FFT_BLOCK values, and as many channels as the budget holds."""
    axes = []
    for k, d, o, s in zip(p.kernel, p.dilation, p.out, p.stride, strict=True):
        reach, span = (k - 1) * d + 1, (o - 1) * s + 1
        # one block if it is not much longer than the blocks that would be worth their overlap
        worth = fft_length(6 * reach)
        axes.append((fft_length(span + reach - 1) if span + reach <= worth else worth, reach))
    block = [
        1 if k == 1 and o == 1 else length
        for (length, _), k, o in zip(axes, p.kernel, p.out, strict=True)
    ]
    while block[0] * block[1] * block[2] > FFT_BLOCK:
        ratio, a = max((block[a] / axes[a][1], a) for a in range(3))
        if ratio < 2.5:
            break
        block[a] = fft_length(max(block[a] // 2, axes[a][1] * 2))
    size = block[0] * block[1] * block[2] * itemsize * 2
    channels = max(1, min(p.C, FFT_MOST // 4 // size))
    outputs = max(1, min(p.O, FFT_MOST // 2 // (size * channels)))
    return FftPlan(
        (block[0], block[1], block[2]),
        channels,
        outputs,
        f"overlap-save in blocks of {tuple(block)}",
    )


def fft_pays(p: ConvProblem, itemsize: int, lanes: int) -> bool:
    """Whether transforms take less than half the cycles of multiply-adds, both as measured; only for many taps.

    Half, because the FFT runs on one thread and the choice must not depend on how many there are.
    """
    taps = p.kernel[0] * p.kernel[1] * p.kernel[2]
    if taps < 256 or p.mode:
        return False
    plan = fft(p, itemsize)
    blocks, size = 1.0, plan.block[0] * plan.block[1] * plan.block[2]
    for F, k, d, o, s in zip(plan.block, p.kernel, p.dilation, p.out, p.stride, strict=True):
        blocks *= up((o - 1) * s + 1, max(1, F - (k - 1) * d))
    transform = size * (size.bit_length() + 4) * 0.9
    cycles = p.G * (
        blocks
        * (
            (p.C * up(p.O, plan.outputs) + p.O * up(p.C, plan.channels)) * transform
            + 4 * p.C * p.O * size
        )
        + p.C * p.O * transform
    )
    rate = lanes * (
        1.2 if p.O <= ROWS_CHANNELS else min(1.7, 0.14 * p.O)
    )  # a tile of few rows waits for its loads
    direct = p.G * p.O * p.C * taps * p.out[0] * p.out[1] * p.out[2] / rate
    return 2 * cycles < direct


def choose(
    p: ConvProblem, itemsize: int, lanes: int, tile_rows: int, algorithm: str, packed: int
) -> ConvPlan:
    """The plan of a convolution for an algorithm: "direct", "winograd", or "auto".

    `packed`: True where the weights are packed once for many calls; else how many samples of a call share that work
    (False, or 1, where a sample has to have the same bits alone).
    """
    if algorithm != "direct" and p.kernel[2] == 3:
        tile = winograd_tile(p, itemsize, lanes, packed, algorithm == "winograd")
        if tile:
            return winograd(p, tile, itemsize, lanes)
    return conv(p, itemsize, lanes, tile_rows)


def phases(
    parts: list[ConvProblem],
    itemsize: int,
    lanes: int,
    tile_rows: int,
    algorithm: str,
    packed: int,
) -> list[ConvPlan] | None:
    """Plans of phases along W that are summed side by side and written as one, or None if each is its own."""
    nr, count = 2 * lanes, len(parts)
    frame = max(p.out for p in parts)
    if not 2 <= count <= 8 or any(p.out[:2] != frame[:2] or 0 in p.out for p in parts):
        return None
    wanted = max(nr, min(24 * nr, L2 // (itemsize * count * max(1, parts[0].O)) // nr * nr))
    plans = []
    for p in parts:
        if choose(p, itemsize, lanes, tile_rows, algorithm, packed).kernel != 0:
            return None
        plan = conv(p._replace(out=frame), itemsize, lanes, tile_rows, wanted)
        if plan.kernel != 0 or plan.box != (plans or [plan])[0].box:
            return None
        plans.append(plan._replace(in_place=False))
    # one line more than whole panels, so that channels do not fall into the same cache sets
    dense = plans[0].panels * nr + 64 // itemsize
    dense_at = max(plan.workspace for plan in plans)
    workspace = dense_at + lines(count * (parts[0].O * dense + nr) * itemsize)
    reason = f"{count} interleaved phases, each an implicit GEMM on the register tile"
    return [
        plan._replace(
            dense=dense, dense_at=dense_at, workspace=workspace, group=count, reason=reason
        )
        for plan in plans
    ]


def conv(
    p: ConvProblem, itemsize: int, lanes: int, tile_rows: int, most: int | None = None
) -> ConvPlan:
    """The plan of one convolution, for vectors of `lanes` elements and tiles of `tile_rows` x 2 vectors.

    `most` bounds the outputs of a box.
    """
    tapless = 0 in p.kernel
    if tapless:  # a phase of a transposed convolution without taps: only the bias is written
        p = p._replace(kernel=(1, 1, 1))
    taps = p.kernel[0] * p.kernel[1] * p.kernel[2]
    nr = 2 * lanes
    step, ss, sd = steps(p)
    rows = p.O <= ROWS_CHANNELS
    # half of L1 for a panel, three quarters of as much where the tile is wide (such processors have 48 KiB)
    k_most = max(32, L1 // 4 * (3 if lanes * itemsize == 64 else 2) // (nr * itemsize))
    if taps >= k_most:
        c_block, t_block = 1, up(taps, up(taps, 2 * k_most))
    else:
        blocks = up(p.C * taps, k_most + k_most // 4)
        c_block, t_block = max(1, min(p.C, up(p.C, blocks))), max(1, taps)
    # so few output channels do not repay packed panels: rows are read where they lie, the whole of K at a time
    unpacked = (
        most is None
        and not rows
        and not tapless
        and p.O <= 3 * tile_rows
        and p.C * taps <= UNPACKED_TERMS
    )
    if unpacked:
        c_block, t_block = p.C, taps
    wanted = most or 24 * nr
    if rows:
        # taller boxes: rows shared by neighbouring outputs are copied once. The slab still fits L1 or L2.
        c_block, t_block = max(1, min(p.C, 4096 // max(1, taps))), max(1, min(taps, 4096))
        if t_block < taps:
            c_block = 1
        wanted = max(64 * lanes, min(4096, L1 // 2 // itemsize // c_block))
    budget = L2 // 2
    box = choose_box(p, ss, sd, lanes, wanted)
    while True:
        nz, ny, nx, phases = slab_shape(p, ss, sd, box)
        channel = nz * ny * nx * phases
        if c_block * channel * itemsize <= budget:
            break
        if c_block > 1 and c_block * taps > 48:
            c_block = up(c_block, 2)
        elif wanted > 2 * nr:
            wanted //= 2
            box = choose_box(p, ss, sd, lanes, wanted)
        elif c_block > 1 and c_block * channel * itemsize > SLAB_MOST:
            c_block = up(c_block, 2)
        else:
            break
    kernel = 1 if rows else 0
    reason = (
        f"{p.O} output channels a group: rows of the slab are read in place"
        if rows
        else "implicit GEMM on the register tile"
    )
    if channel * itemsize > SLAB_MOST:
        kernel, box, channel, c_block, t_block = 2, (1, 1, p.out[2]), 0, 1, 1
        reason = "the slab of one channel would not fit the workspace: taps straight from the input"
    boxes = tuple(up(o, b) for o, b in zip(p.out, box, strict=True))
    # a row narrower than a vector, the last piece of one included, needs panels
    unpacked = (
        unpacked
        and (c_block, t_block) == (p.C, taps)
        and (p.out[2] - 1) % box[2] + 1 >= lanes <= box[2]
    )
    # small planes: one item has several samples, so that weights are read once for all of them
    positions, samples, sample = box[0] * box[1] * box[2], 1, channel
    if kernel == 0 and most is None and not unpacked and box == p.out and not tapless:
        fits = budget // max(1, c_block * channel * itemsize)
        samples = max(1, min(p.N, wanted // positions, fits))
        channel *= samples
    panels = up(samples * positions, nr) if kernel == 0 and not unpacked else 0
    if unpacked and kernel == 0:
        reason = "implicit GEMM on the register tile, its rows read in place"
    count = c_block * t_block
    # slack behind slab and panels: whole vectors run past the ends; rows_tile may read past the box
    slab_at = lines(count * (24 if rows else 8))  # rows: also the offsets and weights in its order
    panels_at = slab_at + lines((c_block * channel + 8 * nr) * itemsize)
    workspace = panels_at + lines(
        (panels * count * nr + 4 * nr + unpacked * tile_rows * count) * itemsize
    )
    in_place = kernel == 0 and taps == 1 and not tapless and p.out == p.size and flat(p)
    in_place = in_place and samples == 1
    o_block = max(tile_rows, L2 // 4 // (max(1, count) * itemsize))
    return ConvPlan(
        kernel,
        step,
        ss,
        sd,
        box,
        boxes,
        (nz, ny, nx),
        phases,
        nx * phases,
        ny * nx * phases,
        channel,
        c_block,
        t_block,
        o_block,
        panels,
        (0, 0, 0),
        slab_at,
        panels_at,
        in_place,
        workspace,
        reason,
        samples=samples,
        sample=sample,
    )


def weight_grad_form(p: ConvProblem, lanes: int, ss: Three, sd: Three) -> tuple[bool, bool]:
    """(by lanes, flat): which form wastes less of its vectors; of dot products, whether they run across rows."""
    row = p.out[2] + (p.kernel[2] - 1) * sd[2]
    flat = ss[1] == ss[2] == 1 and p.out[2] / row > p.out[2] / (up(p.out[2], lanes) * lanes)
    dots = 0.75 * (p.out[2] / row if flat else p.out[2] / (up(p.out[2], lanes) * lanes))
    longest = max(
        p.C, p.kernel[0], p.kernel[1], p.kernel[2]
    )  # an axis whose taps or channels fill tiles
    by_lanes = p.O / (up(p.O, lanes) * lanes) * (1.0 if longest > 2 else 0.5)
    return by_lanes >= dots, flat and by_lanes < dots


def weight_grad(p: ConvProblem, itemsize: int, lanes: int, tile_rows: int) -> WeightGradPlan:
    """Blocks of a weight gradient, whose sum runs over the positions of all samples.

    Chunks of that sum give threads work where the weights are few; their number depends on the sizes alone.
    """
    taps, nr, line = p.kernel[0] * p.kernel[1] * p.kernel[2], 2 * lanes, 64 // itemsize
    step, ss, sd = steps(p)
    by_lanes, flat = weight_grad_form(p, lanes, ss, sd)
    swapped = (
        p.kernel == p.stride == (1, 1, 1) and p.before == (0, 0, 0) and p.out == p.size
    ) and p.O > p.C >= lanes
    if swapped:
        p, by_lanes, flat = p._replace(C=p.O, O=p.C), True, False
    in_place = by_lanes and all(
        b == 0 and (o - 1) * s + (k - 1) * d < L
        for b, o, s, k, d, L in zip(
            p.before, p.out, p.stride, p.kernel, p.dilation, p.size, strict=True
        )
    )
    # a panel of gradients and the rows of a tile share L1, of 48 KiB where vectors are widest
    wanted = (36 if lanes * itemsize == 64 else 16) * 1024 // (nr * itemsize)
    if not by_lanes:
        wanted = max(wanted, L1 // 2 // itemsize // (min(p.O, 4) + min(p.C, 4)))
    wanted = max(nr, wanted)
    box = choose_box(p, ss, sd, lanes, wanted)
    positions = box[0] * box[1] * box[2]
    samples = max(1, min(p.N, wanted // positions)) if box == p.out else 1
    o_block = (
        min(p.O, max(nr, L2 // 2 // (samples * positions * itemsize) // nr * nr))
        if by_lanes
        else p.O
    )
    o_block = min(p.O, up(up(p.O, up(p.O, o_block)), nr) * nr)
    width = up(o_block, nr) * nr if by_lanes else o_block * lanes  # elements of the sums of one row
    # enough rows to repay the transposed gradients, few enough that their sums stay in L2
    c_block = max(1, min(p.C, 3 * L2 // 2 // itemsize // (width * taps)))
    while True:
        nz, ny, nx, phases = slab_shape(p, ss, sd, box)
        sample = nz * ny * nx * phases
        # an odd number of cache lines, so that channels do not fall into the same cache sets
        channel = (up(samples * sample, line) | 1) * line
        if c_block * channel * itemsize <= (SLAB_MOST // 4 if in_place else L2 // 2):
            break
        if c_block > tile_rows:
            c_block = up(c_block, 2)
        elif samples > 1:
            samples = up(samples, 2)
        elif wanted > 2 * nr:
            wanted //= 2
            box = choose_box(p, ss, sd, lanes, wanted)
        elif c_block > 1 and c_block * channel * itemsize > SLAB_MOST:
            c_block = up(c_block, 2)
        else:
            break
    kernel = 0
    if (channel + taps) * itemsize > SLAB_MOST or width * taps * itemsize > SLAB_MOST:
        kernel, box, channel, c_block, samples, o_block = 2, p.out, 0, 1, 1, p.O
    c_block = up(p.C, up(p.C, c_block))
    boxes = (up(p.out[0], box[0]), up(p.out[1], box[1]), up(p.out[2], box[2]))
    c_blocks, o_blocks = up(p.C, c_block), up(p.O, o_block)
    items, total = p.G * c_blocks * o_blocks, up(p.N, samples) * boxes[0] * boxes[1] * boxes[2]
    weights = p.G * p.O * p.C * taps
    terms = p.N * p.out[0] * p.out[1] * p.out[2]
    work = weights * terms
    chunks = 1
    if items < 8 and kernel == 0:
        # up to 16 items; more than 4 only where adding their sums costs little beside the sums
        chunks = max(up(4, items), min(up(16, items), terms // (50 * nr)))
        chunks = max(1, min(chunks, total, 8 * 2**20 // (weights * itemsize), work // 2**21))
    if kernel == 0:  # a chunk is not interrupted: it should not take 0.2 s
        chunks = max(chunks, min(total, work // items // 2**30, 8 * 2**20 // (weights * itemsize)))
    run = up(box[1] * nx, lanes) * lanes if flat else up(box[2], lanes) * lanes
    rows = samples * box[0] * box[1]
    slab_at = lines((rows + (5 if by_lanes else 1) * c_block * taps) * 8)
    grads_at = slab_at + lines((c_block * channel + 4 * nr) * itemsize)
    if by_lanes:
        grads = up(o_block, nr) * nr * samples * box[0] * box[1] * box[2]
    else:
        grads = o_block * (samples * box[0] if flat else rows) * run
    sums_at = grads_at + lines(grads * itemsize)
    workspace = 64 if kernel else sums_at + lines(c_block * taps * up(width, nr) * nr * itemsize)
    conv_plan = ConvPlan(
        kernel, step, ss, sd, box, boxes, (nz, ny, nx), phases, nx * phases, ny * nx * phases, channel, c_block, taps,
        o_block, 0, (0, 0, 0), slab_at, 0, False, workspace, "outer products" if by_lanes else "dot products",
    )  # fmt: skip
    return WeightGradPlan(
        conv_plan,
        by_lanes,
        flat,
        in_place,
        swapped,
        samples,
        sample,
        chunks,
        c_blocks,
        o_blocks,
        run,
        grads_at,
        sums_at,
    )


def most_rows(p: PoolProblem, axis: int, rows: int) -> int:
    """The most input rows that `rows` neighbouring windows of an axis reach."""
    L, out = p.size[axis], p.out[axis]
    if p.adaptive:
        return min(L, up(rows * L, max(1, out)) + 1)
    return max(1, min(L, (rows - 1) * p.stride[axis] + (p.kernel[axis] - 1) * p.dilation[axis] + 1))


def doubles(k: int, s: int, axis: int) -> bool:
    """Whether windows are so large and overlap so much that doubling takes fewer steps than their taps."""
    return axis > 0 and k >= 4 and k > s * (k.bit_length() + 1) and (axis == 1 or s == 1)


def wide(kernel: Three, stride: Three) -> bool:
    """Whether a float32 average has so many terms in a row, not summed by doubling, that it needs float64."""
    terms = 1
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True)):
        terms *= k.bit_length() if doubles(k, s, axis) else k
    return terms >= WIDE_WINDOW


def pool(p: PoolProblem, itemsize: int, lanes: int, indexed: bool) -> PoolPlan:
    """Rows of one item, so that the reduced rows that they share are computed once and stay in L2."""
    width = p.out[2] + 2 * lanes
    spread = 0
    if not p.adaptive:
        spread = p.stride[2] * (p.out[2] + (p.kernel[2] - 1) * p.dilation[2] // p.stride[2] + 1)
    fixed = (2 * width + spread + 4 * lanes) * itemsize
    if indexed and (p.adaptive or p.kernel[0] * p.kernel[1] * p.kernel[2] >= 2**31):
        return PoolPlan(0, p.out[1], 64, (0, 0, 0), "window by window, for the indices")
    if indexed:
        reason = "tap by tap, with the number of the best"
        # an item is not interrupted: rows for some milliseconds
        taps = p.kernel[0] * p.kernel[1] * p.kernel[2]
        rows = max(1, min(p.out[1], 2**23 // max(1, p.out[2] * taps)))
        space = lines(fixed + 1024 * 8 + 64)
        return PoolPlan(rows, up(p.out[1], rows), space, (0, 0, 0), reason)
    along = int(not p.adaptive and doubles(p.kernel[2], p.stride[2], 2))
    depth = most_rows(p, 0, 1)
    if not p.adaptive and doubles(p.kernel[1], p.stride[1], 1):
        # whole windows, padding included, and the sums beside them
        reach = (p.kernel[1] - 1) * p.dilation[1] + 1
        rows = p.out[1]

        def kept_rows(rows: int) -> int:
            return (rows - 1) * p.stride[1] + reach + rows

        while rows > 4 and kept_rows(rows) * width * itemsize > L2 // 2 and 2 * rows > reach // 4:
            rows = up(rows, 2)
        kept = kept_rows(rows) * width * itemsize
        if kept <= 8 * L2:
            return PoolPlan(
                rows, up(p.out[1], rows), lines(fixed + kept + 64), (0, 1, along),
                "separable, by doubling: steps grow with the logarithm of the window",
            )  # fmt: skip
    rows = max(1, p.out[1])
    while rows > 1 and depth * most_rows(p, 1, rows) * width * itemsize > L2 // 2:
        rows = up(rows, 2)
    kept = depth * most_rows(p, 1, rows) * width * itemsize
    if kept > 8 * L2:
        return PoolPlan(
            0,
            p.out[1],
            fixed + width * itemsize,
            (0, 0, along),
            "rows reduced again for every window",
        )
    reason = "separable: along the rows, then down"
    return PoolPlan(rows, up(p.out[1], rows), lines(fixed + kept + 64), (0, 0, along), reason)


def pool_grad(p: PoolProblem, itemsize: int, lanes: int, maximum: bool) -> PoolGradPlan:
    """Input rows of one item of a pool's gradient."""
    _, H, W = p.size
    width, planes = p.out[2] + 2 * lanes, p.N * p.C
    if not maximum:
        rows = max(1, min(H, L1 // 2 // (itemsize * W)))
        rows = min(
            H, up(rows, p.stride[1]) * p.stride[1]
        )  # rows that one window row fills are copied
        n = (W + p.before[2] - 1) // p.stride[2] + 1 + 2 * lanes
        space = width + p.kernel[2] + 2 * lanes + max(n, width) + n * (p.stride[2] + 1) + 4 * lanes
        return PoolGradPlan(rows, up(H, rows), 0, False, False, lines(space * itemsize))
    reach = (p.kernel[1] - 1) * p.dilation[1] + 1
    # the windows of rows between two items are searched twice, so items are some windows high
    blocks = 1
    if planes < 8 and p.size[0] == 1:
        blocks = max(1, min(up(16, max(1, planes)), H // (4 * reach)))
    rows = up(H, blocks)
    row = 2 * width * itemsize
    outs = max(1, p.out[1])

    def kept(outs: int) -> int:
        return p.kernel[0] * ((outs - 1) * p.stride[1] + reach) * row

    while outs > 1 and kept(outs) > L2 // 2 and 2 * outs * p.stride[1] > reach:
        outs = up(outs, 2)
    spread = p.stride[2] * (p.out[2] + (p.kernel[2] - 1) * p.dilation[2] // p.stride[2] + 1)
    taps = min(4096, p.kernel[0] * p.kernel[1] * p.kernel[2])
    space = lines(taps * 8) + row + 2 * (spread + 4 * lanes) * itemsize + kept(outs)
    return PoolGradPlan(
        rows,
        up(H, rows),
        outs,
        p.kernel[0] == 1 and doubles(p.kernel[1], p.stride[1], 1),
        doubles(p.kernel[2], p.stride[2], 2),
        lines(space + 64),
    )
