"""Prefect flows over the procedures; the only part of ohmflow that knows Prefect."""
