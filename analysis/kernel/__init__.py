"""Many trajectories of the score's reverse equation, with everything that cells do to it, as fast as a processor can.

`equation.py` says what is solved, `solve.py` is the door, `compiled.py`, `plain.py` and `accelerated.py` are three ways
to solve it.
"""
