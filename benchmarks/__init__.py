"""cconv beside its peers, on named real layers: ``python -m benchmarks``. See README.md here."""
