"""The live view, over HTTP as a browser asks for it."""

import asyncio
import contextlib
import csv
import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import h5py
import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import AnalysisError
from analysis.records import Catalogue, Query, RunHeader, RunWriter, WaveformSpec, layout, salvage
from analysis.records.follow import Follower
from analysis.records.leftover import lookup3
from analysis.records.slices import MOST_CELLS, MOST_POINTS, Finder, outline
from analysis.records.spread import spread
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.locking import StationLocks
from workflows.procedures.orders import Orders
from workflows.view.app import make_app
from workflows.view.listing import Listing
from workflows.view.places import Place
from workflows.view.server import hosts_of
from workflows.view.stand import Stand

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "workflows" / "view"
EVIL = "<script>alert('chip')</script>"
TARGETS = np.linspace(2e-5, 8e-5, 16).reshape(4, 4)
SCOPE = WaveformSpec("scope1", ("x", "y"), 5000)


def header(name: str, started: str = "2031-05-07T21:00:00+00:00", **changes) -> RunHeader:
    fields = {
        "procedure": "program", "world": "simulated", "rows": 4, "cols": 4, "chip": "7", "operator": "ada",
        "parameters": {"tolerance": 1e-6},
    }  # fmt: skip
    return RunHeader(run_id=name, started=started, **{**fields, **changes})


def begin(folder: Path, *, waveforms=(), **changes) -> RunWriter:
    ticks = itertools.count()
    return RunWriter.create(
        folder, header(folder.name, **changes), now=lambda: next(ticks) / 8, waveforms=waveforms
    )  # fmt: skip


def program(run: RunWriter, cells=16) -> None:
    """Two pulses and three reads for each of the first cells; the last read is 0.5 uS above the target."""
    run.phase("program")
    run.map("conductance_target", TARGETS)
    for row, col in list(np.ndindex(4, 4))[:cells]:
        run.event("read", row, col, amplitude=0.2, conductance=1e-5)
        for kind, volts, error in (("set", 1.5, 3e-6), ("reset", 0.9, 0.5e-6)):
            run.result(run.intent(kind, row, col, amplitude=volts, gate=1.1, width=1e-6))
            run.event("read", row, col, amplitude=0.2, conductance=TARGETS[row, col] + error)
        run.cell(row, col, "ok" if col else "unresponsive")
    run.note("all <b>well</b>")


def capture(run: RunWriter, codes) -> None:
    run.waveform(
        "scope1", np.asarray(codes, np.int16), y_increment=[1e-3, 2e-3], y_origin=[0.5, 0.0], y_reference=[10, 0],
        x_increment=1e-6, x_origin=-1e-3,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Runs of a folder; no test changes them."""
    runs = tmp_path_factory.mktemp("view") / "runs"
    with begin(runs / "2031" / "plain", waveforms=(SCOPE,)) as run:
        program(run)
        wave = np.zeros((2, 5000))
        wave[0, 1234], wave[1, 4321] = 110, -500
        capture(run, np.zeros((2, 400)))
        capture(run, wave)
    with begin(runs / "evil & 100%", started="2031-05-08T21:00:00+00:00", chip=EVIL, command_line=EVIL) as run:
        run.note(EVIL)
    with begin(runs / "arrays", started="2031-05-06T21:00:00+00:00", arrays=2, procedure="circle", chip="9") as run:
        run.event("read", 3, 2, array=1, conductance=5e-5)
    shutil.copytree(runs / "arrays", runs / "short")
    with (runs / "short" / layout.FINAL).open("rb+") as file:
        file.truncate(5000)
    return runs


class Client:
    """Asks the application for pages as a browser does."""

    def __init__(self, app) -> None:
        self._app = app

    def request(self, method: str, path: str, **given) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                return await client.request(method, path, **given)

        return asyncio.run(ask())

    def get(self, path: str, **given) -> httpx.Response:
        return self.request("GET", path, **given)


@contextlib.contextmanager
def browse(runs: Path, **changes):
    given = {"database": ":memory:", "locks": runs.parent / "locks", **changes}
    place = given.pop("place", Place.of(str(runs) if runs.is_dir() else "", runs))
    app = make_app(place, **given)
    yield Client(app)


@pytest.fixture(scope="module")
def client(tree):
    with browse(tree) as opened:
        yield opened


def names(page: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/run/([^"]*)">', page)


def see(client: Client, name: str, **asked):
    return client.get(f"/api/run/{name}", params=asked).json()


# The list


def test_the_list_has_every_run_the_latest_first(client):
    assert names(client.get("/").text) == ["evil%20%26%20100%25", "2031/plain", "arrays", "short"]


def test_a_damaged_run_is_listed_with_what_is_wrong(client):
    assert "short" in client.get("/").text
    assert "salvage the run" in client.get("/").text


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"procedure": "circle"}, ["arrays"]),
        ({"text": "plain"}, ["2031/plain"]),
        ({"status": "completed", "text": "ada"}, ["evil%20%26%20100%25", "2031/plain", "arrays"]),
        ({"text": "nowhere"}, []),
    ],
)
def test_the_list_can_be_searched(client, asked, found):
    assert names(client.get("/", params=asked).text) == found


def test_a_search_that_finds_nothing_says_what_to_do(client):
    assert "emptying the fields" in client.get("/", params={"text": "nowhere"}).text


def test_long_lists_are_paged(tree, monkeypatch):
    monkeypatch.setattr("workflows.view.listing.PER_PAGE", 2)
    with browse(tree) as client:
        first = client.get("/").text
        second = client.get(re.search(r'<a href="([^"]*)">Earlier', first)[1]).text
    assert len(names(first)) == 2
    assert names(second) == ["arrays", "short"]
    assert "Later runs" in second


def test_an_empty_folder_says_how_to_begin(tmp_path):
    (tmp_path / "runs").mkdir()
    with browse(tmp_path / "runs") as client:
        assert f"ohmflow program --runs {tmp_path / 'runs'}" in client.get("/").text


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path):
    with browse(tmp_path / "runs") as client:
        assert "There is no folder" in client.get("/").text
        begin(tmp_path / "runs" / "first").close("completed")
        assert names(client.get("/").text) == ["first"]


def test_a_folder_that_takes_long_to_read_is_waited_for(tree, tmp_path, monkeypatch):
    ready, refresh = threading.Event(), Catalogue.refresh
    monkeypatch.setattr(Catalogue, "refresh", lambda catalogue: ready.wait(60) and refresh(catalogue))
    listing = Listing(tree, tmp_path / "catalogue.sqlite", now=lambda: 0.0, patience=0.01)
    assert "for the first time" in listing.find(Query(), 1).said
    assert listing.find(Query(), 1).waiting
    ready.set()
    while (found := listing.find(Query(), 1)).waiting:
        pass
    assert len(found.runs) == 4


def test_a_catalogue_that_can_not_be_kept_is_told(tree, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with browse(tree, database=tmp_path / "file" / "catalogue.sqlite") as client:
        while "for the first time" in (reply := client.get("/")).text:
            pass
    assert reply.status_code == 400
    assert "Can&#39;t use the catalogue" in reply.text


# A run


def test_a_page_says_what_the_run_is(client):
    page = client.get("/run/2031/plain").text
    assert "simulated" in page
    assert "chip 7" in page
    assert "1 &times; 4 &times; 4 cells" in page
    assert 'data-known="1"' in page


def test_maps_are_those_of_the_run(client):
    seen = see(client, "2031/plain")
    assert seen["problem"] == ""
    np.testing.assert_allclose(np.reshape(seen["now"], (4, 4)), (TARGETS + 0.5e-6) * 1e6, atol=1e-4)
    np.testing.assert_allclose(np.reshape(seen["target"], (4, 4)), TARGETS * 1e6, atol=1e-4)
    error = see(client, "2031/plain", map="conductance_error")["map"]
    np.testing.assert_allclose(error["values"], 0.5, atol=1e-4)
    assert error["limits"] == [-3.0, 3.0]
    assert error["unit"] == "µS"
    assert seen["maps"][0] == "conductance_before"


def test_progress_counts_cells_by_what_became_of_them(client):
    progress = see(client, "2031/plain")["progress"]
    assert (progress["wanted"], progress["pulsed"], progress["inside"], progress["judged"]) == (16, 16, 16, 16)
    assert progress["verdicts"]["unresponsive"] == 4
    assert progress["events"] == 80
    assert progress["captures"] == {"scope1": 2}


def test_the_trace_is_of_the_cell_touched_last_unless_another_is_asked_for(client):
    last, other = see(client, "2031/plain")["trace"], see(client, "2031/plain", cell="1,2")["trace"]
    assert (last["row"], last["col"], last["whole"]) == (3, 3, True)
    assert (other["row"], other["col"], other["verdict"]) == (1, 2, "ok")
    assert other["kind"] == ["read", "set", "read", "reset", "read"]
    assert other["amplitude"] == [0.2, 1.5, 0.2, 0.9, 0.2]
    assert other["conductance"][1] is None
    assert other["conductance"][4] == pytest.approx(TARGETS[1, 2] * 1e6 + 0.5, abs=1e-3)


def test_errors_are_counted_into_classes(client):
    found = see(client, "2031/plain")["spread"]
    assert sum(found["touched"]) == 16
    assert found["inside"] == 16
    assert found["mean"] == pytest.approx(0.5, abs=1e-3)


def test_the_array_shown_is_the_one_of_the_cell(client):
    assert see(client, "arrays")["array"] == 1
    assert see(client, "arrays", array="0")["array"] == 0
    assert see(client, "arrays", array="0")["now"] == [None] * 16
    assert see(client, "arrays")["now"][14] == pytest.approx(50)


def test_a_capture_is_made_small_without_losing_a_peak(client):
    found = see(client, "2031/plain", scope="scope1")["outline"]
    assert (found["number"], found["samples"], found["channels"]) == (1, 5000, ["x", "y"])
    assert len(found["time"]) <= MOST_POINTS
    assert max(found["high"][0]) == pytest.approx((110 - 10) * 1e-3 + 0.5)
    assert min(found["low"][1]) == pytest.approx(-500 * 2e-3)
    first = see(client, "2031/plain", scope="scope1", capture="0")["outline"]
    assert (first["number"], first["samples"]) == (0, 400)
    assert first["low"] == first["high"]


def test_cells_come_as_a_table(client):
    rows = list(csv.DictReader(io.StringIO(client.get("/cells/2031/plain").text)))
    assert len(rows) == 16
    assert (rows[5]["row"], rows[5]["col"], rows[5]["verdict"]) == ("1", "1", "ok")
    assert float(rows[5]["error_uS"]) == pytest.approx(0.5, abs=1e-3)


def test_a_view_of_one_run_shows_no_other(tree):
    with browse(tree, place=Place.of(str(tree / "arrays"), tree)) as client:
        assert client.get("/").headers["location"] == "/run/arrays"
        assert see(client, "arrays")["problem"] == ""
        assert "alone" in see(client, "2031/plain")["problem"]


# While it writes


def test_a_page_follows_a_run_from_before_its_beginning_to_its_end(tmp_path):
    (tmp_path / "runs").mkdir()
    with browse(tmp_path / "runs") as client:
        page = client.get("/run/now")
        assert page.status_code == 200
        assert "There is no run now" in page.text
        before = see(client, "now")
        assert "once it begins" in before["problem"]
        assert see(client, "now", after=before["mark"])["unchanged"]
        with begin(tmp_path / "runs" / "now", waveforms=(SCOPE,)) as run:
            begun = see(client, "now", after=before["mark"])
            assert begun["status"] == {"state": "running", "said": "just begun", "live": True}
            assert begun["trace"] is None
            assert begun["now"] == [None] * 16
            program(run, cells=3)
            capture(run, np.zeros((2, 7)))
            run.sync()
            later = see(client, "now", after=begun["mark"], scope="scope1")
            assert later["status"]["said"] == "phase: program"
            assert (later["progress"]["pulsed"], later["progress"]["judged"]) == (3, 3)
            assert (later["trace"]["row"], later["trace"]["col"]) == (0, 2)
            assert later["outline"]["samples"] == 7
            assert later["notes"][0]["text"] == "all <b>well</b>"
            assert see(client, "now", after=later["mark"], hold="0.1")["unchanged"]
        ended = see(client, "now", after=later["mark"])
        assert ended["status"] == {"state": "completed", "said": "", "live": False}
        assert ended["progress"]["pulsed"] == 3


def test_a_killed_run_is_shown_with_how_to_go_on(tmp_path):
    with begin(tmp_path / "alive") as run:
        program(run, cells=2)
        run.sync()
        shutil.copytree(tmp_path / "alive", tmp_path / "dead")
    with browse(tmp_path) as client:
        seen = see(client, "dead")
        assert seen["status"]["state"] == "killed"
        assert f"ohmflow resume {tmp_path / 'dead'}" in seen["status"]["said"]
        assert seen["progress"]["judged"] == 2


def test_a_run_that_dies_while_it_is_looked_at_is_told(tmp_path):
    run = begin(tmp_path / "now")
    with browse(tmp_path) as client:
        assert see(client, "now")["status"]["state"] == "running"
        os.close(run._journal._descriptor)  # what a kill does: the lock goes, the files stay
        assert see(client, "now")["status"]["state"] == "killed"
    run._journal._descriptor = -1
    run._live.close()


def test_a_question_to_a_person_is_shown(tmp_path):
    with begin(tmp_path / "now"), Orders(tmp_path / "now") as orders, browse(tmp_path) as client:
        orders.working()
        orders._say("asking", question="Move the probes")
        status = see(client, "now")["status"]
        assert status["state"] == "asking"
        assert "Move the probes" in status["said"]
        assert "ohmflow answer" in status["said"]


def test_a_file_that_is_cut_off_is_one_sentence(client):
    page = client.get("/run/short")
    assert page.status_code == 200
    assert "damaged" in page.text
    assert "Traceback" not in page.text
    problem = see(client, "short")["problem"]
    assert "salvage" in problem
    assert problem.endswith(".")
    assert "\n" not in problem


def test_a_file_that_is_damaged_under_the_reader_is_one_sentence(tree, tmp_path):
    shutil.copytree(tree / "2031" / "plain", tmp_path / "spoilt")
    with h5py.File(tmp_path / "spoilt" / layout.FINAL, "r+") as file:
        del file["entry/cells/status"]
    with browse(tmp_path) as client:
        assert "cells/status" in see(client, "spoilt")["problem"]


def test_a_file_that_is_cut_off_while_it_is_looked_at_is_one_sentence(tmp_path):
    with begin(tmp_path / "alive") as run:
        program(run)
        run.sync()
        shutil.copytree(tmp_path / "alive", tmp_path / "dead")
    with browse(tmp_path) as client:
        assert see(client, "dead")["problem"] == ""
        with (tmp_path / "dead" / layout.PARTIAL).open("rb+") as file:
            file.truncate(3000)
        assert see(client, "dead", cell="0,0")["problem"].endswith(".")
        assert "Traceback" not in client.get("/run/dead").text
        shutil.rmtree(tmp_path / "dead")
        assert "There is no run dead" in see(client, "dead")["problem"]


def test_a_run_that_is_made_whole_again_is_shown_again(tmp_path):
    with begin(tmp_path / "run") as run:
        program(run, cells=1)
        run.sync()
        shutil.copytree(tmp_path / "run", tmp_path / "dead")
    with browse(tmp_path) as client:
        assert see(client, "dead")["status"]["state"] == "killed"
        salvage(tmp_path / "dead")
        seen = see(client, "dead")
        assert (seen["status"]["state"], seen["progress"]["judged"]) == ("killed", 1)
        (tmp_path / "dead" / layout.FINAL).unlink()
        assert "salvage" in see(client, "dead")["problem"]


def test_the_checksum_of_hdf5_is_jenkinss():
    assert lookup3(b"Four score and seven years ago") == 0x17770551  # of his own test program
    assert lookup3(b"") == 0xDEADBEEF


# What must not be


@pytest.mark.parametrize(
    "name",
    [
        "../outside", "..%2Foutside", "%2e%2e/outside", "2031/../../outside", "link", "link/inner", "2031//plain",
        "/etc", "nul%00", "x" * 2000,
    ],
)  # fmt: skip
def test_nothing_outside_the_folder_is_shown(tree, tmp_path, name):
    runs = tmp_path / "runs"
    shutil.copytree(tree / "2031", runs / "2031")
    shutil.copytree(tree / "2031" / "plain", tmp_path / "outside")
    (tmp_path / "outside" / "inner").symlink_to(tmp_path / "outside")
    (runs / "link").symlink_to(tmp_path / "outside")
    with browse(runs) as client:
        for kind in ("run", "api/run", "cells"):
            reply = client.get(f"/{kind}/{name}")
            assert "chip" not in reply.text
            assert '"now"' not in reply.text
            assert reply.status_code in (200, 400, 404)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", ""])
def test_other_names_of_this_server_are_refused(client, host):
    assert client.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "localhost:4200"])
def test_its_own_names_are_not(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


def test_only_what_listens_elsewhere_answers_to_other_names():
    assert hosts_of("127.0.0.1") == ["127.0.0.1", "localhost"]
    assert "192.168.0.5" in hosts_of("192.168.0.5")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/run/arrays", "/api/run/arrays", "/api/stand", "/cells/arrays", "/static/a.js"])
def test_it_can_only_be_read(client, method, path):
    assert client.request(method, path).status_code == 405


def test_text_out_of_files_is_never_markup(client):
    for path in ("/", "/run/evil%20%26%20100%25"):
        page = client.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_scripts_only_ever_put_in_text():
    for script in (PAGES / "static").glob("*.js"):
        assert not re.search(r"(inner|outer)HTML\s*=[^=]|insertAdjacent|document\.write|eval\(", script.read_text())


def test_nothing_comes_from_outside(client):
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for file in [*(PAGES / "static").iterdir(), *(PAGES / "templates").iterdir()]:
        addresses = set(re.findall(r"https?://[^\"' )]*", file.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}


def test_every_file_that_the_pages_name_is_there(client):
    text = "".join(file.read_text() for file in [*(PAGES / "static").iterdir(), *(PAGES / "templates").iterdir()])
    named = set(re.findall(r"/static/[a-z.]+", text))
    assert len(named) >= 7
    for path in named:
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "query", ["array=x", "array=-1", "cell=3", "cell=1,2,3", "capture=1e3", "hold=nan", "hold=-1", "array=99999999999"]
)
def test_nonsense_in_an_address_is_told(client, query):
    reply = client.get(f"/api/run/arrays?{query}")
    assert reply.status_code == 400
    assert "in the address is no" in reply.text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"array": "5"}, "no array 5"),
        ({"cell": "9,9"}, "no cell 9,9"),
        ({"map": "events"}, "no map"),
        ({"scope": "scope9"}, "no oscilloscope"),
    ],
)
def test_what_a_run_does_not_have_is_told(client, asked, said):
    assert said in see(client, "arrays", **asked)["problem"]


def test_pages_that_are_not_there_are_told(client):
    reply = client.get("/nowhere")
    assert reply.status_code == 404
    assert "There is no such page" in reply.text


# Instruments


def lab() -> StationFile:
    file = StationFile.load("station-lab.yaml")
    return replace(file, instruments={"analyzer": replace(file.instruments["analyzer"], resource="GPIB0::17::INSTR")})


def test_instruments_and_the_queue_are_shown(tmp_path):
    locks = StationLocks(tmp_path / "locks", host="here", wall=lambda: "2026-01-02T12:03:04.000+00:00")
    (tmp_path / "runs").mkdir()
    with browse(tmp_path / "runs") as client:
        assert "No instrument" in client.get("/api/stand").json()["said"]
    with locks.acquire(lab(), run="one", owner="ada"), browse(tmp_path / "runs", locks=tmp_path / "locks") as client:
        [row] = client.get("/api/stand").json()["instruments"]
    assert (row["name"], row["state"], row["owner"]["run"], row["waiting"]) == ("GPIB0::17 at here", "held", "one", [])


def test_instruments_are_looked_at_every_few_seconds_only(tmp_path):
    now = [0.0]
    stand = Stand(tmp_path / "locks", now=lambda: now[0])
    stand.look()
    locks = StationLocks(tmp_path / "locks", host="here", wall=lambda: "2026-01-02T12:03:04.000+00:00")
    with locks.acquire(lab(), run="one"):
        now[0] = 1.9
        assert stand.look()["instruments"] == []
        now[0] = 2.1
        assert stand.look()["instruments"][0]["state"] == "held"


# Pieces


@settings(max_examples=50)
@given(
    cells=st.lists(st.integers(-1, 3), max_size=60),
    steps=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    block=st.integers(1, 20),
    most=st.integers(1, 20),
)
def test_a_cells_events_are_found_however_the_file_grows(cells, steps, block, most):
    finder = Finder((0, 2, 1), block)
    with h5py.File.in_memory() as file:
        columns = {"array": np.minimum(cells, 0), "row": np.asarray(cells), "col": np.ones(len(cells))}
        for name, values in columns.items():
            file[f"events/{name}"] = np.asarray(values, np.int16)
        for rows in sorted(min(step, len(cells)) for step in steps):
            found = finder.look(file, rows, most)
            wanted = [place for place, row in enumerate(cells[:rows]) if row == 2]
            assert found.tolist() == wanted[-most:]
            if finder.whole:
                assert len(finder.found) <= len(wanted)


@settings(max_examples=40)
@given(
    samples=st.integers(1, 3000),
    seed=st.integers(0, 99),
)
def test_an_outline_keeps_every_extreme(samples, seed):
    codes = np.random.default_rng(seed).integers(-1000, 1000, (1, 2, samples)).astype(np.int16)
    with h5py.File.in_memory() as file:
        group = file.create_group("waveforms/s")
        group["raw"], group["channels"] = codes, ["x", "y"]
        scales = {"seq": [0], "length": [samples], "x_origin": [-2.0], "x_increment": [0.5]}
        factors = {"y_increment": [[1.0, -2.0]], "y_origin": [[0.0, 1.0]], "y_reference": [[0.0, 3.0]]}
        for name, values in {**scales, **factors}.items():
            group[name] = values
        found = outline(file, "s", 0, live=False)
    volts = np.stack([codes[0, 0], (codes[0, 1] - 3.0) * -2.0 + 1.0])
    np.testing.assert_allclose(found.high.max(axis=1), volts.max(axis=1))
    np.testing.assert_allclose(found.low.min(axis=1), volts.min(axis=1))
    assert len(found.time) <= MOST_POINTS
    assert found.read == found.samples == samples
    assert found.time[0] == -2.0


@given(
    errors=st.lists(st.floats(-2e-5, 2e-5) | st.just(float("nan")), min_size=1, max_size=50),
    tolerance=st.sampled_from([1e-6, 3e-6, float("nan")]),
)
def test_every_known_error_is_counted_once(errors, tolerance):
    target = np.full(len(errors), 5e-5)
    touched = np.arange(len(errors)) % 2 == 0
    now = target + errors
    found = spread(now, target, touched, tolerance)
    known = np.isfinite(now)
    if found is None:
        assert not known.any()
        return
    assert found.touched.sum() + found.untouched.sum() + found.below + found.above == known.sum()
    assert found.untouched.sum() <= (known & ~touched).sum()
    inside = np.abs(now - target)[known] <= tolerance
    assert found.inside == (inside.sum() if tolerance > 0 else -1)


def test_a_large_array_is_shown_coarsely(tmp_path):
    with begin(tmp_path / "large", rows=2 * MOST_CELLS, cols=3, parameters={}) as run:
        run.map("conductance_after", np.arange(6 * MOST_CELLS).reshape(-1, 3) * 1e-6)
    with Follower(tmp_path / "large") as follower:
        follower.look()
        found = follower.grid("conductance_after", 0)
        assert found.step == 2
        assert found.values.shape == (MOST_CELLS, 2)
        assert found.values[1, 1] == pytest.approx(8e-6)
        with pytest.raises(AnalysisError, match="no array 1"):
            follower.grid("conductance_after", 1)


# The command


def test_a_place_is_a_run_a_folder_or_the_folder_of_runs(tree, tmp_path):
    assert Place.of("", tree) == Place(tree)
    assert Place.of("arrays", tree) == Place(tree, "arrays")
    assert Place.of(str(tree / "arrays" / "run.h5"), tmp_path) == Place(tree, "arrays")
    assert Place.of(str(tree / "2031"), tmp_path) == Place(tree / "2031")
    with pytest.raises(RequestError, match="neither a run nor a folder"):
        Place.of("nowhere", tree)


def test_the_command_serves_until_it_is_interrupted(tree, tmp_path):
    environment = {**os.environ, "OHMFLOW_HOME": str(tmp_path), "COLUMNS": "500", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "workflows.cli", "view", str(tree)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as process:
        try:
            line = process.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
            assert "arrays" in httpx.get(url, trust_env=False).text
            browser = shutil.which("chromium")
            if browser is not None:
                _look(browser, f"{url}run/2031/plain", tmp_path)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def _look(browser: str, url: str, folder: Path) -> None:
    """The page in a real browser: its scripts drew what there is, and had nothing to complain of."""
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}",
        "--virtual-time-budget=2500", "--enable-logging=stderr", "--v=0", "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr
    assert "Pulse trace: row 3, column 3" in done.stdout
    assert "16 cells inside the window" in done.stdout
    assert done.stdout.count('class="reset"') == 2  # the pulse, and its mark in the legend
