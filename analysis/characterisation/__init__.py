"""Quantities extracted from the run files of characterisations, each with its uncertainty."""
