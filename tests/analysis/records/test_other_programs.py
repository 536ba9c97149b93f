"""Run files in the programs that others look at them with: h5py alone, nexusformat, h5grove with H5Web's rules, xarray.

H5Web itself runs in a browser; what it looks for is emulated after its documentation: from the root along `default`
to an NXdata group, there `signal`, `axes` (a dataset of numbers for each dimension, as long as it), `title`, and at
each of them `long_name`, which it shows instead of name and unit.
"""

import itertools
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import h5py
import numpy as np
import pytest

from analysis.records import RunHeader, RunWriter, WaveformSpec, layout, open_run, to_xarray, validate

KINDS = ("program", "circle", "iv", "empty")
"""Runs as different as they come: maps of several arrays; captures; sweeps without a conductance; nothing at all."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    for kind in KINDS:
        arrays = 2 if kind == "program" else 1
        ticks = itertools.count()
        header = RunHeader(
            kind, "simulated", kind, "2031-05-07T08:00:00+00:00", arrays=arrays, rows=4, cols=5, chip="7"
        )
        specs = [WaveformSpec("scope1", ("c1", "c2"), 50)] if kind == "circle" else []
        with RunWriter.create(folder / kind, header, now=lambda ticks=ticks: next(ticks) / 8, waveforms=specs) as run:
            if kind in ("program", "circle"):
                run.map("conductance_target", np.full((arrays, 4, 5), 5e-5))
                run.map("stuck", np.zeros((arrays, 4, 5)), units="", title="Stuck cells")
                for n in range(20):
                    run.event("read", n // 5, n % 5, amplitude=0.2, conductance=5e-5 + 1e-7 * n)
                    run.cell(n // 5, n % 5, "ok")
            if kind == "circle":
                for n in range(3):
                    run.waveform(
                        "scope1", np.arange(100, dtype=np.int16).reshape(2, 50), index=n, y_increment=[1e-3] * 2,
                        y_origin=[0.0] * 2, y_reference=[0.0] * 2, x_increment=1e-6, x_origin=-1e-5,
                    )  # fmt: skip
                run.data("loop/errors", np.ones((2, 3)), units="V", title="errors of the loop")
                run.twin("drives/time", np.arange(4.0), units="s")
            if kind == "iv":
                for _ in range(6):
                    run.result(run.intent("set", 1, 1, amplitude=1.5, gate=1.4), current=2e-4)
                run.data("iv/r1_c1/from_0", np.ones((3, 2, 8)), units="A", title="current through the cell")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_is_valid_and_has_units_everywhere(runs: Path, kind: str) -> None:
    assert validate(runs / kind) == []
    with h5py.File(runs / kind / layout.FINAL) as file:
        found: list[str] = []

        def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and item.ndim and item.dtype.kind in "biuf":
                units = item.attrs.get("units")
                found.append(name)
                assert isinstance(units, str), name
                if units and "long_name" in item.attrs:
                    assert str(item.attrs["long_name"]).endswith(f"({units})"), name

        file.visititems(look)
        assert len(found) > 30


EXPECTED = {
    "program": ("conductance_after", "conductance", "S", ["array", "row", "col"]),
    "circle": ("conductance_after", "conductance", "S", ["row", "col"]),
    "iv": ("events", "current", "A", ["time"]),
    "empty": ("conductance_after", "conductance", "S", ["row", "col"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_nexusformat_finds_the_picture(runs: Path, kind: str) -> None:
    nexus = pytest.importorskip("nexusformat.nexus", reason="nexusformat is not installed")
    group, signal, units, axes = EXPECTED[kind]
    picture = nexus.nxload(runs / kind / layout.FINAL).plottable_data
    assert picture.nxpath == f"/entry/{group}"
    assert picture.nxsignal.nxname == signal
    assert picture.nxsignal.attrs["units"] == units
    assert [axis.nxname for axis in picture.nxaxes] == axes
    assert [len(axis) for axis in picture.nxaxes] == list(picture.nxsignal.shape)
    if kind == "circle":
        captures = nexus.nxload(runs / kind / layout.FINAL)["entry/waveforms/scope1"]
        assert captures.nxsignal.shape == (3, 2, 50)
        assert captures.nxaxes[-1].attrs["units"] == "s"
        assert captures.nxaxes[-1].nxdata[10] == pytest.approx(0, abs=1e-12)


class Grove:
    """h5grove as H5Web asks it over HTTP."""

    def __init__(self, client: Any, file: str) -> None:
        self.client, self.file = client, file

    def ask(self, what: str, path: str, **more: str) -> Any:
        reply = self.client.get(f"/{what}/?{urlencode({'file': self.file, 'path': path, **more})}")
        assert reply.status_code == 200, reply.text
        return json.loads(reply.content)

    def children(self, path: str) -> dict[str, Mapping[str, Any]]:
        return {child["name"]: child for child in self.ask("meta", path)["children"]}


@pytest.fixture(scope="module")
def grove(runs: Path) -> Callable[[str], Grove]:
    pytest.importorskip("h5grove", reason="h5grove is not installed")
    pytest.importorskip("pydantic_settings", reason="h5grove's FastAPI part needs pydantic-settings")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that h5grove brings along
        fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
        testing = pytest.importorskip("fastapi.testclient", reason="httpx is not installed")
        utils = pytest.importorskip("h5grove.fastapi_utils", reason="h5grove's FastAPI part is not installed")
    app = fastapi.FastAPI()
    app.include_router(utils.router)
    utils.settings.base_dir = str(runs)
    client = testing.TestClient(app)
    return lambda kind: Grove(client, f"{kind}/{layout.FINAL}")


def picture_of(grove: Grove, path: str = "/") -> str:
    """Where H5Web goes from here: along `default`, relative or absolute, until there is none."""
    for _ in range(8):
        default = grove.ask("attr", path).get("default")
        if default is None:
            return path
        path = default if default.startswith("/") else f"{path.rstrip('/')}/{default}"
    raise AssertionError("default leads in circles")


@pytest.mark.parametrize("kind", KINDS)
def test_h5grove_gives_h5web_a_picture_with_axes_and_units(
    runs: Path, grove: Callable[[str], Grove], kind: str
) -> None:
    group, signal, units, axes = EXPECTED[kind]
    asked = grove(kind)
    path = picture_of(asked)
    assert path == f"/entry/{group}"
    check_picture(asked, path, signal, axes, units)
    assert units in asked.ask("attr", f"{path}/{signal}")["long_name"]
    values = np.array(asked.ask("data", f"{path}/{signal}"), dtype=float)
    with open_run(runs / kind) as run:
        own = run.events[signal] if group == "events" else run.map(group)
    assert np.array_equal(values, own, equal_nan=True)
    title = asked.ask("data", f"{path}/title")
    assert "(simulated)" in title
    assert group == "events" or " in S " in title


def check_picture(asked: Grove, path: str, signal: str, axes: list[str], units: str) -> None:
    """What H5Web asserts of an NXdata group before it draws it."""
    attributes, children = asked.ask("attr", path), asked.children(path)
    assert attributes["NX_class"] == "NXdata"
    assert attributes["signal"] == signal
    assert list(attributes["axes"]) == axes
    assert children[signal]["kind"] == "dataset"
    assert children[signal]["type"]["class"] in (0, 1), "H5T_INTEGER or H5T_FLOAT"
    assert len(children[signal]["shape"]) == len(axes)
    for axis, length in zip(axes, children[signal]["shape"], strict=True):
        assert children[axis]["shape"] == [length]
        assert children[axis]["type"]["class"] in (0, 1)
        assert "units" in asked.ask("attr", f"{path}/{axis}")
    assert asked.ask("attr", f"{path}/{signal}")["units"] == units
    assert children["title"]["shape"] == []


def test_h5web_draws_captures_over_time(grove: Callable[[str], Grove]) -> None:
    asked = grove("circle")
    path = "/entry/waveforms/scope1"
    check_picture(asked, path, "raw", ["capture", "channel", "sample_time"], "")
    assert asked.ask("attr", f"{path}/raw")["interpretation"] == "spectrum"
    assert asked.ask("attr", f"{path}/sample_time")["long_name"] == "time from the trigger (s)"
    assert asked.ask("data", f"{path}/raw", selection="1,0,:4") == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_can_be_asked_of_h5grove(grove: Callable[[str], Grove], kind: str) -> None:
    asked = grove(kind)
    waiting, seen = ["/"], 0
    while waiting:
        path = waiting.pop()
        asked.ask("attr", path)
        for name, child in asked.children(path).items():
            place = f"{path.rstrip('/')}/{name}"
            if child["kind"] == "group":
                waiting.append(place)
            else:
                assert child["kind"] == "dataset"
                asked.ask("data", place)
                seen += 1
    assert seen > 50


@pytest.mark.parametrize("kind", KINDS)
def test_xarray_opens_a_run_in_one_call(runs: Path, kind: str) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    data = to_xarray(runs / kind)
    assert data.attrs["procedure"] == kind
    assert data["conductance_after"].attrs["units"] == "S"
    assert data["conductance_after"].dims == (("array", "row", "col") if kind == "program" else ("row", "col"))
    assert all("units" in variable.attrs for variable in data.variables.values())


def test_xarray_opens_a_group_by_its_own_engine(runs: Path) -> None:
    """Without ohmflow: dimensions have no names then, but values and units are there."""
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    pytest.importorskip("h5netcdf", reason="h5netcdf is not installed")
    options = {"engine": "h5netcdf", "phony_dims": "sort"}
    path = runs / "circle" / layout.FINAL
    with (
        xarray.open_dataset(path, group="entry/conductance_after", **options) as data,
        open_run(runs / "circle") as run,
    ):
        assert np.array_equal(data["conductance"].values, run.map("conductance_after"), equal_nan=True)
        assert data["conductance"].attrs["units"] == "S"
    with xarray.open_dataset(path, group="entry/waveforms/scope1", **options) as data:
        assert data["raw"].shape == (3, 2, 50)
        assert data["sample_time"].attrs["units"] == "s"


def test_h5py_alone_follows_the_picture(runs: Path) -> None:
    for kind in KINDS:
        with h5py.File(runs / kind / layout.FINAL) as file:
            entry = file[file.attrs["default"]]
            group = entry[entry.attrs["default"]]
            assert group.attrs["NX_class"] == "NXdata"
            assert group[group.attrs["signal"]].attrs["units"]
            assert [group[axis].shape[0] for axis in group.attrs["axes"]] == list(group[group.attrs["signal"]].shape)
