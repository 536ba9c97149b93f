"""Measurements of other programs as runs: ArC TWO's HDF5 files and EasyEXPERT's CSV exports."""

from analysis.imports.foreign import Foreign, Step
from analysis.imports.reading import FORMATS, read_foreign
from analysis.imports.writing import About, write_run

__all__ = ["FORMATS", "About", "Foreign", "Step", "read_foreign", "write_run"]
