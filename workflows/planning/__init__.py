"""A forecast of the laboratory's queue: `plan(...)` reads a week's plan and says when what will be done."""

from workflows.planning.forecast import Forecast, forecast, plan
from workflows.planning.model import Week
from workflows.planning.week import load_week

__all__ = ["Forecast", "Week", "forecast", "load_week", "plan"]
