"""Benchmarks against other libraries: python -m benchmarks [NAME ...], or make bench ONLY=NAME."""
