"""How fast nnbackend is, beside its peers, on the machine at hand: ``python -m benchmarks``.

Every section is a function ``section(options) -> tables`` that lets contestants do the same work in
interleaved rounds. ``python -m benchmarks.report`` writes the tables into docs/performance.md.
"""
