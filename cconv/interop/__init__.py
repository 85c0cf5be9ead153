"""Doors to other packages, each an extra of its own: imported by name, never by `cconv` itself.

- `cconv.interop.autograd` - differentiable functions for the autograd package (``cconv[autograd]``)
- `cconv.interop.dask` - convolution and pooling of Dask arrays, larger than memory or on a cluster (``cconv[dask]``)
- `cconv.interop.keras` - convolution and pooling of Keras' NumPy backend, without JAX (``cconv[keras]``)
- `cconv.interop.onnx` - operators for ONNX's reference evaluator (``cconv[onnx]``)
- `cconv.interop.safetensors` - weights from and to safetensors and ``.npz`` files (``cconv[safetensors]``)
- `cconv.interop.scipy` - `correlate` and `convolve` as ``scipy.signal`` has them; needs NumPy alone
"""
