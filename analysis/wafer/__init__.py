"""Cells, rows, columns, arrays and chips: yield, statistics, spatial patterns, stress; see `analysis.wafer.collect`."""
