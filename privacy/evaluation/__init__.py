"""How close a synthetic table is to a real one, and what it is good for.

These functions read real records: their results are private until a mechanism has paid for them.
They are for a steward's own eyes, for benchmarks on public data and for held-back records.
"""
