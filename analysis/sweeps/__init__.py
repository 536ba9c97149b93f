"""Studies over grids of noises, solvers and devices: declared in one file, resumable, on one core or on a cluster.

`study.py` reads the file, `quality.py` says what a point measures, `engine.py` runs the points, `store.py` keeps them.
"""
