"""Studies over grids of noises, solvers and devices: declared in one file, resumable, on one core or on a cluster.

`study.py` reads the file, `measurement.py` says what a point may be, `quality.py`, `sampling.py` and `energy.py` are
what this package measures itself, `models.py` finds the network, `engine.py` runs the points, `store.py` keeps them,
`result.py` reads them, `findings.py` says what came of them and `page.py` shows it.
"""

from analysis.sweeps.page import study_page, study_rows
from analysis.sweeps.result import StudyResult, open_study

__all__ = ["StudyResult", "open_study", "study_page", "study_rows"]
