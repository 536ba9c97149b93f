"""The file shows itself: NeXus default plot, axes, units, marks; checked with the NeXus project's own reader."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.records import RunHeader, RunWriter, layout

Make = Callable[..., RunWriter]


@pytest.mark.parametrize("arrays", [1, 3])
def test_a_nexus_reader_finds_the_picture(
    make_run: Make, make_header: Callable[..., RunHeader], tmp_path: Path, arrays: int
) -> None:
    nexusformat = pytest.importorskip("nexusformat.nexus", reason="nexusformat is not installed")
    with make_run(header=make_header(arrays=arrays)) as run:
        run.event("read", 1, 2, conductance=4e-5)
    root = nexusformat.nxload(tmp_path / "run-1" / layout.FINAL)
    picture = root.plottable_data
    assert picture.nxpath == "/entry/conductance_after"
    assert picture.nxsignal.nxname == "conductance"
    assert picture.nxsignal.attrs["units"] == "S"
    assert picture.nxsignal.shape == ((4, 3) if arrays == 1 else (3, 4, 3))
    assert [axis.nxname for axis in picture.nxaxes] == ["array", "row", "col"][-picture.nxsignal.ndim :]
    assert "(simulated)" in str(picture.nxtitle)
    assert float(np.nanmax(picture.nxsignal.nxdata)) == 4e-5


def test_without_a_conductance_the_events_are_the_picture(make_run: Make, tmp_path: Path) -> None:
    with make_run() as run:
        run.event("compute", -1, -1, array=-1, energy=1e-6)
    with h5py.File(tmp_path / "run-1" / layout.FINAL) as file:
        assert file["entry"].attrs["default"] == "events"


def test_every_group_has_a_class_and_every_number_its_unit(make_run: Make, tmp_path: Path) -> None:
    with make_run() as run:
        for step in range(3000):
            run.event("read", step % 4, 0, conductance=1e-6)
        run.note("x")
    bare = []

    def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            if "NX_class" not in item.attrs:
                bare.append(name)
        elif item.ndim and item.dtype.kind in "iuf" and "units" not in item.attrs:
            bare.append(name)

    with h5py.File(tmp_path / "run-1" / layout.FINAL) as file:
        file.visititems(look)
        assert bare == []
        assert file["entry/events/time"].chunks is not None
        kinds = h5py.check_enum_dtype(file["entry/events/kind"].dtype)
        assert kinds == layout.EVENT_CODE
        assert {name: file[f"entry/{name}"].attrs["world"] for name in layout.MAPS} == dict.fromkeys(
            layout.MAPS, "simulated"
        )
