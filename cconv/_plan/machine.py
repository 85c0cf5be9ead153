"""What the plans are made for: caches, vectors and the limits that were promised or measured."""

from __future__ import annotations

import os
from enum import Enum
from typing import NamedTuple

from ..kernels import Kernel as Kernel

L1 = 32 * 1024
L2 = 512 * 1024
SLAB_MOST = 16 * 2**20  # bytes; with the panels below the promised 32 MiB a thread
# Gradients pack weights once for a whole batch, which decides whether Winograd pays. As if every batch were this large:
# a choice by the real size would give a sample other bits alone than in a batch.
TRAINING_BATCH = 8
WINOGRAD_ALLOWED = os.environ.get("CCONV_WINOGRAD", "1") != "0"  # for algorithm="auto"


class Rates(NamedTuple):
    """What one unit of work takes with an instruction set, in cycles: what half a vector of multiply-adds takes at the
    peak. Costs in the plans are sums of these times numbers of units, and nothing else that was measured."""

    tile: float  # a vector of multiply-adds on the register tile
    rows: float  # one of the rows kernel, for few output channels
    slab: float  # to copy a vector into the slab
    read: float  # to read a vector in place, for one tile after the other
    panel: float  # to fill a vector of a panel from the slab
    panel_pieces: float  # the same where it is not one row's
    store: float  # to write a vector of sums
    store_pieces: float
    near: float  # to read a byte of weights from L2
    far: float  # from L3, or memory
    gather: float  # Winograd: a vector at one point of the transformed input
    apart: float  # the same of a dilated convolution's parts
    scatter: float  # of the products
    filters: float  # a vector operation on weights that are transformed
    write_near: float  # to write a byte of transformed weights that stay in L2
    write_far: float
    fft: float  # a value at one level of a transform
    spectrum: float  # a value of a product of spectra
    block: float  # a block's calls, whatever its size


# Printed by `python -m benchmarks.calibrate` on the machines that docs/speed.md names. Others as AVX2.
RATES = {
    "avx2": Rates(
        tile=0.5,
        rows=0.792,
        slab=0.614,
        read=0.154,
        panel=1,
        panel_pieces=0,
        store=0,
        store_pieces=0,
        near=0.064,
        far=0.0329,
        gather=13,
        apart=22,
        scatter=4.95,
        filters=0.933,
        write_near=0.196,
        write_far=0.15,
        fft=0.884,
        spectrum=3.1,
        block=176_000,
    ),
    "avx512": Rates(
        tile=0.5,
        rows=1.08,
        slab=6.58,
        read=0,
        panel=1,
        panel_pieces=0,
        store=0.0927,
        store_pieces=0,
        near=0.0998,
        far=0.0553,
        gather=15.4,
        apart=30.9,
        scatter=3.73,
        filters=1.61,
        write_near=0.198,
        write_far=0.15,
        fft=0.627,
        spectrum=3.86,
        block=140_000,
    ),
}


class Machine(NamedTuple):
    """The kernels of one element type: what their blocks are sized for."""

    dtype: str  # "float32", "float64", "int32", "int64"; "int8", "uint8": of weights of bytes
    itemsize: int
    lanes: int  # elements of a vector
    tile_rows: int  # the register tile: so many output channels x 2 vectors
    isa: str
    terms: int = 1  # products that a multiply-add of one element sums: of bytes 4 or 2
    rates: Rates = RATES["avx2"]

    @property
    def sums(self) -> str:
        """The dtype of results."""
        return self.dtype if self.terms == 1 else "int32"

    @property
    def panel(self) -> int:
        """Positions of a panel."""
        return 2 * self.lanes

    @property
    def wide(self) -> bool:
        """Vectors of 64 bytes; such processors have an L1 of 48 KiB."""
        return self.lanes * self.itemsize == 64

    @property
    def real(self) -> bool:
        return self.dtype.startswith("float")


class WeightUse(Enum):
    """How long weights stay, which decides what may be spent on packing them."""

    ONCE = "once"  # those of one call: read as they lie
    BATCH = "batch"  # packed in the call, as if TRAINING_BATCH samples shared that work
    KEPT = "kept"  # packed once for many calls

    @property
    def samples(self) -> int:
        """Samples that share the work of packing."""
        return TRAINING_BATCH if self is WeightUse.BATCH else 1


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up"""
    return -(-a // b)
