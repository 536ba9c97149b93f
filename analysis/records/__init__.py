"""A run's records: journal, HDF5 file, and everything that reads, salvages and compares them."""

from analysis.records import layout
from analysis.records.captures import Waveforms
from analysis.records.catalogue import Catalogue, Measure
from analysis.records.catalogue_query import Condition, Query
from analysis.records.compare import same_data
from analysis.records.difference import difference
from analysis.records.export import export
from analysis.records.header import InstrumentId, RunHeader, WaveformSpec, World
from analysis.records.journal import Journal, read_journal
from analysis.records.labelled import to_xarray
from analysis.records.migration import migrate
from analysis.records.notebook import runs_table, stack
from analysis.records.reader import RunFile, open_run
from analysis.records.recorder import Recorder
from analysis.records.resume import ResumeState
from analysis.records.salvage import SalvageReport, salvage
from analysis.records.tables import Cell, Doubt
from analysis.records.validate import validate
from analysis.records.writer import RunWriter

__all__ = [
    "Catalogue",
    "Cell",
    "Condition",
    "Doubt",
    "InstrumentId",
    "Journal",
    "Measure",
    "Query",
    "Recorder",
    "ResumeState",
    "RunFile",
    "RunHeader",
    "RunWriter",
    "SalvageReport",
    "WaveformSpec",
    "Waveforms",
    "World",
    "difference",
    "export",
    "layout",
    "migrate",
    "open_run",
    "read_journal",
    "runs_table",
    "salvage",
    "same_data",
    "stack",
    "to_xarray",
    "validate",
]
