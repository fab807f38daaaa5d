"""What several processes gain, and would on a cluster: ``python -m benchmarks.parallel``."""
