"""Where forecasts are kept, so that the run that was foretold finds its own."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import AnalysisError
from analysis.forecast import Forecast

if TYPE_CHECKING:
    from workflows.procedures.job import Job

_CHIPS = ("chip", "fresh", "preset")


def forecast_file(job: "Job[Any, Any]") -> Path:
    """Where a job's forecast is kept: beside the runs, under a name that equal jobs share, whichever their chip."""
    parameters = job.parameters()
    options = {k: v for k, v in parameters["options"].items() if k not in _CHIPS}
    told = json.dumps({**parameters, "options": options, "station": job.station.name}, sort_keys=True, default=str)
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    return Path(job.options.runs).expanduser() / "forecasts" / f"{job.procedure.name}-{digest}.json"


def keep(job: "Job[Any, Any]", forecast: Forecast) -> Path:
    """Keep a forecast for the run to come."""
    path = forecast_file(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(forecast.to_json(), encoding="utf-8")
    os.replace(temporary, path)
    return path


def kept(job: "Job[Any, Any]") -> Forecast | None:
    """The forecast that was made for a job like this one, if any."""
    try:
        return Forecast.from_json(forecast_file(job).read_bytes()[: 1 << 20])
    except (OSError, AnalysisError):
        return None
