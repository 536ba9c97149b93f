"""Experiments as plain functions: they need a station and a recorder, never Prefect."""
