"""A run's records: journal, HDF5 file, and everything that reads, salvages and compares them."""

from analysis.records import layout
from analysis.records.compare import same_data
from analysis.records.header import InstrumentId, RunHeader, WaveformSpec, World
from analysis.records.journal import Journal, read_journal
from analysis.records.reader import RunFile, Waveforms, open_run
from analysis.records.recorder import Recorder
from analysis.records.resume import ResumeState
from analysis.records.salvage import SalvageReport, salvage
from analysis.records.tables import Cell, Doubt
from analysis.records.writer import RunWriter

__all__ = [
    "Cell",
    "Doubt",
    "InstrumentId",
    "Journal",
    "Recorder",
    "ResumeState",
    "RunFile",
    "RunHeader",
    "RunWriter",
    "SalvageReport",
    "WaveformSpec",
    "Waveforms",
    "World",
    "layout",
    "open_run",
    "read_journal",
    "salvage",
    "same_data",
]
