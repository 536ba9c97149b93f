"""The layout of a run's records as one page, out of `layout`'s tables; kept beside it as `layout.md`."""

from analysis.records import layout
from analysis.records.layout import Column

_HEAD = """# Layout of a run's records, version {version}

A run is a folder named after the run:

| file | what |
|---|---|
| `{JOURNAL}` | the journal: one record a line, each with a CRC-32; the authority on what happened |
| `{FINAL}` | the finished run: HDF5 in its default format, NeXus classes; made from the journal |
| `{PARTIAL}` | the same while the run is under way or was killed: HDF5 for many readers beside one writer (SWMR) |
| `{STATION}` | the station file as it was when the run began |
| `{FIGURES}/`, `report.html` | pictures and pages, drawn from `{FINAL}` alone; can be drawn again at any time |

## Version
The root attribute `format` and the journal's first record name the version. A reader refuses a newer version with one
sentence and passes over records of a kind it does not know. An older file is migrated in memory as it is opened
(`migration.py` has a step for each version); `ohmflow migrate RUN` writes it anew for good, with checksums.

| version | new in it |
|---|---|
| 1 | the first |
| 2 | checksums; captures have a CRC-32 each and are NXdata; events without a conductance plot what was measured |

## Rules
* SI units. Every array of numbers has the attribute `units` (empty for counts and codes), every group `NX_class`.
* `world` is `simulated` or `real`, at the root, at the entry, in the provenance and at every map; all must agree.
* What no laboratory could know is under `/entry/twin` alone, and only in simulated runs.
* `long_name`, which viewers put at an axis, ends in the unit.
* NaN means: not known. Codes are HDF5 enumerations that carry their names.
* The default plot: `default` leads from the root to `/entry` and on to a map (or to the events where no conductance
  was measured); every NXdata names its `signal` and `axes`.
* No links to other files, no virtual datasets, no filters that HDF5 itself does not have.

* `/entry/checksums` has the SHA-256 of every group and dataset: of kind, type, shape, attributes and values as a reader
  sees them, whatever the chunks and the compression. `seal` is the SHA-256 of the list. The codes of a capture are
  covered by its `crc32`. Long tables also carry HDF5's own Fletcher-32 a chunk. `ohmflow validate` checks them all.

## Tree
"""

_TREE = """```
{tree}
```
"""

_JOURNAL = """## Journal
A line is `{"seq":n,"t":seconds,"kind":...,...,"crc":"xxxxxxxx"}`: `seq` counts from 0 without a gap, `t` is the
laboratory's clock, `crc` is the CRC-32 of the line without it. Kinds: `header` (first), `intent` and `result` (a
pulse is announced before it is given; an intent without a result is in doubt), `event`, `cell`, `array`, `waveform`,
`phase`, `note`, `resume`, `end`.
"""


def page() -> str:
    """The page, Markdown."""
    names = ("JOURNAL", "FINAL", "PARTIAL", "STATION", "FIGURES")
    tree = (layout.__doc__ or "").split("::\n", 1)[1].split("\n\nThe array axis", 1)[0]
    lines = [line.removeprefix("    ").rstrip() for line in tree.strip("\n").splitlines()]
    parts = [
        _HEAD.format(version=layout.FORMAT, **{name: getattr(layout, name) for name in names}),
        _TREE.format(tree="\n".join(lines)),
        "The axis `array` is left out where the run has one array.\n",
        _table("`/entry/events`: one row a read, pulse, computation", layout.EVENT_COLUMNS),
        _table("`/entry/cells`: one row a cell, in (array, row, col) order", layout.CELL_COLUMNS),
        "## Maps that every run has\n",
        *(f"* `{name}`: {title} (S)" for name, title in layout.MAPS.items()),
        "\n## How a run ended\n",
        f"`status` is one of {', '.join(f'`{s}`' for s in layout.STATUSES)}; `killed` ended without saying so.\n",
        _JOURNAL,
    ]
    return "\n".join(parts)


def _table(title: str, columns: tuple[Column, ...]) -> str:
    rows = [f"## {title}", "", "| column | unit | meaning |", "|---|---|---|"]
    for column in columns:
        codes = f": {', '.join(f'{n} {name}' for n, name in enumerate(column.names))}" if column.names else ""
        rows.append(f"| `{column.name}` | {column.units or ''} | {column.meaning}{codes} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
