"""Ladders of codes beside the lower bound and the authors' code: `python -m benchmarks.hierarchies`.

Frozen: it was measured once (hierarchies.md), and is kept so that it can be measured again. `peer`, `peer_weights`,
`equal_time` and `side_by_side` change only where the package that they call does.
"""
