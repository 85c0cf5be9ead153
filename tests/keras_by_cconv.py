"""A pytest plugin: Keras' own tests with cconv's functions in its NumPy backend, and with JAX out of reach."""

import sys

import pytest

for name in ("jax", "jaxlib"):
    sys.modules[name] = None  # an import of it fails

import cconv.interop.keras  # noqa: E402

cconv.interop.keras.install()


def pytest_configure(config):
    config.addinivalue_line("markers", "requires_trainable_backend: a mark of Keras")


def pytest_collection_modifyitems(items):
    for item in items:
        if "requires_trainable_backend" in item.keywords:  # Keras' conftest.py does this too
            item.add_marker(pytest.mark.skip(reason="the NumPy backend does not train"))
