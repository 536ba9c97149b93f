"""Commands about a simulated bench itself: serving it to other people's programs."""

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

bench_app = typer.Typer(no_args_is_help=True, help="Offer a simulated bench to other programs.")


def add_to(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    app.add_typer(bench_app, name="bench")


@bench_app.command("serve")
def serve(
    bench: Annotated[str, typer.Argument(metavar="STATION|BENCH", help="Station file of a twin, or a bench file.")],
    port_base: Annotated[int, typer.Option(help="First port (VXI-11); instruments' follow. 0: any.")] = 5024,
    pace: Annotated[str, typer.Option(help="virtual, steps, or 1, 10, 100 times real time.")] = "virtual",
    state: Annotated[str, typer.Option(help="Folder that keeps the chip; none: memory. Default: the station's.")] = "",
    chip: Annotated[str, typer.Option("--chip", "--seed", help="Which simulated chip, a whole number.")] = "",
    preset: Annotated[str, typer.Option(help="Device preset: a name, or a file.")] = "",
    faults: Annotated[str, typer.Option(help="Fault profile: a name, or a file.")] = "",
    faults_seed: Annotated[int, typer.Option(help="Of the faults' chance.")] = 1,
    station_out: Annotated[str, typer.Option(help="Station file to write, for clients of this bench.")] = "",
    listen: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0: whoever reaches this machine.")] = "",
    portmapper: Annotated[int, typer.Option(help="Also map ports at this one (111) for VISAs that can't be told.")] = 0,
) -> None:  # fmt: skip
    """Serve a simulated bench: each instrument at ports of its own, the board on a serial line; Ctrl-C stops it."""
    from workflows.console import say, show
    from workflows.errors import RequestError

    for name, port, most in (("--port-base", port_base, 65_000), ("--portmapper", portmapper, 65_535)):
        if not 0 <= port <= most:
            raise RequestError(f"{name} must be 0..{most}, not {port}")
    # Found by its name, as pyvisa finds the twin: nothing here knows the simulated laboratory.
    service: Any = importlib.import_module("instruments.twin.serving.command")
    host = listen or "127.0.0.1"
    if warning := service.refuse_open_door(host, bool(listen)):
        say(f"warning: {warning}", "yellow")
    source = _Source.find(bench)
    if station_out:
        source.check_output(Path(station_out))
    own = {"seed": chip, "preset": preset, "faults": faults, "faults_seed": str(faults_seed) if faults else ""}
    params = {**source.params, **{key: value for key, value in own.items() if value}}

    def ready(host: str, offers: Any, bench_port: int) -> None:
        show(f"bench    {source.bench}, {f'{pace} x real' if pace.isdigit() else pace} time")
        for offer in offers:
            for address in offer.addresses:
                show(f"  {source.role(offer.resource)}: {address}")
        show(f"  the bench itself: {host}:{bench_port}")
        if station_out:
            addresses = {offer.resource: offer.addresses[0] for offer in offers}
            source.write_station(Path(station_out), addresses, f"{host}:{bench_port}")
            show(f"station  {station_out}  (use it by --station {station_out})")
        show("ready; Ctrl-C stops it")

    ended = service.serve(
        str(source.bench), params, pace=pace, host=host, port=port_base, state=source.folder(state),
        portmapper=portmapper, ready=ready, report=lambda text: say(f"defect: {text}", "red"),
    )  # fmt: skip
    show(f"stopped by {ended}; the chip is as it was left")


class _Source:
    """What is served: a bench file, by itself or as a station file names it."""

    def __init__(self, bench: Path, params: dict[str, str], station: Any) -> None:
        self.bench, self.params, self.station = bench, params, station

    @classmethod
    def find(cls, name: str) -> "_Source":
        """From the name of a station file or a bench file."""
        import sim_configs
        from instruments.station_file import StationFile
        from instruments.strict_yaml import read_yaml
        from workflows.errors import RequestError

        path = sim_configs.find(name)
        if path.is_file() and isinstance(data := read_yaml(path, "bench file"), dict) and "station" not in data:
            return cls(path.absolute(), {}, None)
        station = StationFile.load(name)
        if not station.simulated:
            raise RequestError(f"station {station.name} is not a twin of its own: only a simulated bench can be served")
        beside = station.path.parent / station.visa.rpartition("@")[0]
        bench = beside if beside.is_file() else sim_configs.find(beside.name)
        return cls(bench.absolute(), {k: v for k, v in station.twin.items() if k != "dir"}, station)

    def folder(self, given: str) -> Path | None:
        """Where the chip is kept: the folder that runs on this station use, too."""
        from workflows.flows.environment import state_folder

        if given == "none":
            return None
        if given:
            return Path(given).expanduser().absolute()
        if self.station is not None and self.station.twin.get("dir"):
            return Path(self.station.twin["dir"]).expanduser().absolute()
        return (
            state_folder() / "benches" / (self.bench.stem if self.station is None else self.station.name)
        ).absolute()

    def role(self, resource: str) -> str:
        """What an instrument is on the station, else its name on the bench."""
        from pyvisa.rname import to_canonical_name

        for role, entry in {} if self.station is None else self.station.instruments.items():
            if to_canonical_name(entry.resource) == resource:
                return str(role)
        return resource

    def check_output(self, path: Path) -> None:
        """Refuse what can't be written later."""
        from workflows.errors import RequestError

        if self.station is None:
            raise RequestError(
                f"--station-out {path}: {self.bench.name} is a bench file; name the station that uses it"
            )
        if path.absolute() == self.station.path.absolute():
            raise RequestError(f"--station-out {path} is the station that is served; name another file")
        if not path.absolute().parent.is_dir():
            raise RequestError(f"--station-out {path}: there is no folder {path.parent}")

    def write_station(self, path: Path, addresses: dict[str, str], itself: str) -> None:
        """The station as its clients see it: other addresses and another VISA, and still marked as simulated."""
        import os

        import yaml
        from pyvisa.rname import to_canonical_name

        from instruments.station_file import StationFile

        data = yaml.safe_load(self.station.text)
        data["station"].update(name=self.station.name, world="simulated", visa="@py", served=True, bench=itself)
        data.pop("twin", None)
        for role, entry in data["instruments"].items():
            here = self.station.instruments[role]
            entry["resource"] = addresses[to_canonical_name(here.resource)]
            for key, value in entry.get("options", {}).items():
                if value in here.resources[1:]:  # a second instrument of the same driver
                    entry["options"][key] = addresses[to_canonical_name(value)]
        head = (
            f"# Made by `ohmflow bench serve {self.station.path.name}`: a simulated bench, reached over the network.\n"
        )
        part = path.with_name(path.name + ".part")
        part.write_text(head + yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        StationFile.load(part)
        os.replace(part, path)
