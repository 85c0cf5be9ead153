"""Calls of every kind from four threads at once, for ThreadSanitizer; `flaw`: into one output, which is a race."""

import sys
import threading

import numpy as np

import cconv
from cconv import grad

cconv.set_num_threads(4)
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 16, 40, 40), np.float32)
w = rng.standard_normal((16, 16, 3, 3), np.float32)
y = cconv.conv2d(x, w)


def flaw():
    for _ in range(50):
        cconv.conv2d(x, w, out=y)


def work():
    for _ in range(10):
        cconv.conv2d(x, w)
        cconv.prepack(w)(x)
        cconv.conv_transpose2d(x, w, stride=2)
        cconv.conv2d(x.astype("f2"), w.astype("f2"))
        cconv.max_pool2d(x, 2)
        grad.conv2d_weight(x, w.shape, y)
        grad.avg_pool2d_input(x.shape, cconv.avg_pool2d(x, 2), 2)


threads = [threading.Thread(target=flaw if "flaw" in sys.argv else work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
