"""Sums of 32 bits back to bytes."""

from ..graph import Array

stamp: str

def requantize(sums: Array, scales: Array, zero: int, is_signed: bool, out: Array) -> None: ...
