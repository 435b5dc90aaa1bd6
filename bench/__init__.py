"""Benchmarks: ratios against a peer in the same run. The last line of each is one JSON object with its figures."""
