"""A call of the C interface that lies about its arrays, for .ci/sanitize: `python flaw.py overflow|misaligned`."""

import ctypes
import sys

import numpy as np
from cases import Spec, capi_functions

init, run, _, _, _, free = capi_functions()
spec = Spec(0, 2, 0, 0, 1, 4, 8, 1)
for name, values in (("input", (9, 9)), ("kernel", (3, 3)), ("stride", (1, 1)), ("dilation", (1, 1))):  # fmt: skip
    getattr(spec, name)[:2] = values
plan = ctypes.c_void_p()
assert init(ctypes.addressof(spec), ctypes.addressof(plan)) == 0
x, w, y = np.ones(4 * 81, "f4"), np.ones(8 * 4 * 9 + 1, "f4"), np.empty(8 * 49, "f4")
short = np.empty(8 * 49 - 1, "f4")
if sys.argv[1] == "overflow":
    run(plan, x.ctypes.data, w.ctypes.data, None, short.ctypes.data, 1)
else:
    run(plan, x.ctypes.data, w.ctypes.data + 1, None, y.ctypes.data, 1)
free(plan)
