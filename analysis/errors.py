"""Errors of the analysis side. The whole tree of ohmflow's exceptions is drawn in `workflows.errors`."""


class AnalysisError(Exception):
    """A file, a model or a parameter of the analysis can't be used; the message says which, where and what to do."""
