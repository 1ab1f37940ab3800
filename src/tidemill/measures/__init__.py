"""Pure numbers: metrics, distances, mergeable profiles and sequential evidence.

Nothing here reads or writes anything, knows a clock or holds state; every function maps numbers to numbers.
What cannot be computed (no rows, one class, a constant) is `None`, never an exception and never an infinity.
"""
