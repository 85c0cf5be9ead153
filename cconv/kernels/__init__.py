"""The kernels: algorithm -> when it is used -> file. See _plan.py for the choice itself.

gemm         dense and grouped convolution                          conv.pyx
rows         few output channels a group: depthwise, image filters  conv.pyx
taps         slabs that would not fit the workspace                 conv.pyx
winograd     3 taps along one axis or two, where it pays            winograd.pyx
weight_grad  gradients of convolutions by their weights             weight_grad.pyx
pool         maximum, sum and average; indices; adaptive windows    pool.pyx
pool_grad    gradients of pools by their input                      pool_grad.pyx

One source serves every element type and instruction set (simd.h); the compiled modules are cconv.kernels.<isa>.<dtype>.
"""
