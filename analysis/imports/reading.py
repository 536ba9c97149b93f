"""Which of the known formats a file has."""

from pathlib import Path
from typing import Final

from analysis.errors import AnalysisError
from analysis.imports.arc2 import is_arc2, read_arc2
from analysis.imports.easyexpert import is_easyexpert, read_easyexpert
from analysis.imports.foreign import Foreign

FORMATS: Final = ("ArC TWO HDF5", "EasyEXPERT CSV")


def read_foreign(path: Path) -> Foreign:
    """Read a file of another program.

    Raises:
        AnalysisError: there is none, it is of no known format, or it is damaged; says where.
    """
    if not path.is_file():
        raise AnalysisError(f"there is no file {path} to import")
    if is_arc2(path):
        return read_arc2(path)
    if is_easyexpert(path):
        return read_easyexpert(path)
    raise AnalysisError(f"{path} is none of the formats that can be imported: {', '.join(FORMATS)}")
