"""How close a synthetic table is to a real one, and what it is good for.

`marginals` and `utility` read real records: their results are private. They are for a steward's
own eyes and for benchmarks on public data. `held_back` reads noisy sums about held-back units,
which are paid for; its figures may be published.
"""
