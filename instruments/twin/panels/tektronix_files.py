"""Files of a simulated Tektronix MSO: folders, screen images, stored set-ups."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from instruments.twin.panels.scpi import Call, Entry, ScpiError, abbreviated, number, quoted
from instruments.twin.panels.scpi_state import Value
from instruments.twin.panels.tektronix_waveform import SPAN_DIVISIONS
from instruments.twin.scope_picture import bmp, draw, png

if TYPE_CHECKING:
    from instruments.twin.panels.tektronix_mso import TektronixPanel

HOME = "C:/"


class Files:
    """What lies on the instrument's disk; a reset leaves it alone."""

    def __init__(self, panel: "TektronixPanel") -> None:
        self._panel, self._settings = panel, panel.settings
        self._folder = HOME
        self._files: dict[str, bytes | None] = {HOME.rstrip("/"): None}
        self._setups: dict[str, dict[str, Value]] = {}

    def commands(self) -> dict[str, Entry]:
        """The headers of this part."""
        return {
            "FILESystem:CWD": Entry(self._enter, lambda call: f'"{self._folder}"'),
            "FILESystem:MKDir": Entry(lambda call: self._store(self._path(call), None)),
            "FILESystem:READFile": Entry(self._read_file),
            "FILESystem:DELEte": Entry(self._delete_file),
            "FILESystem:RMDir": Entry(self._delete_file),
            "FILESystem:DIR": Entry(None, lambda call: ",".join(f'"{p.name}"' for p, _ in self._within()) or '""'),
            "FILESystem:LDIR": Entry(None, lambda call: ",".join(self._details()) or '""'),
            "SAVe:IMAGe": Entry(self._save_image),
            "SAVe:WAVEform": Entry(self._save_waveform),
            "SAVe:SETUp": Entry(lambda call: self._store(self._path(call), self._settings.saved())),
            "RECAll:SETUp": Entry(self._recall),
            "*SAV": Entry(lambda call: self._keep(f"{number(call.only()[0], 1, 10):.0f}")),
            "*RCL": Entry(lambda call: self._bring(f"{number(call.only()[0], 1, 10):.0f}")),
        }

    def _path(self, call: Call) -> str:
        text = quoted(call.only()[0]).replace("\\", "/")
        whole = text if text[1:2] == ":" or text.startswith("/") else f"{self._folder.rstrip('/')}/{text}"
        parts: list[str] = []
        for part in whole.split("/"):
            if part == "..":
                parts = parts[:-1] or parts
            elif part not in ("", "."):
                parts.append(part)
        return "/".join(parts)

    def _store(self, path: str, content: bytes | None) -> None:
        parent = path.rpartition("/")[0]
        if self._files.get(parent, b"") is not None:
            raise ScpiError(-221, f"no folder {parent}")
        self._files[path] = content

    def _enter(self, call: Call) -> None:
        path = self._path(call)
        if self._files.get(path, b"") is not None:
            raise ScpiError(-221, f"no folder {path}")
        self._folder = path if "/" in path else path + "/"

    def _within(self) -> list[tuple[PurePosixPath, bytes | None]]:
        here = self._folder.rstrip("/")
        return [(PurePosixPath(p), c) for p, c in sorted(self._files.items()) if p.rpartition("/")[0] == here]

    def _details(self) -> list[str]:
        kinds = [("DIR" if content is None else "FILE", path, len(content or b"")) for path, content in self._within()]
        return [f'"{path.name};{kind};{size};2000-01-01;00:00:00"' for kind, path, size in kinds]

    def _read_file(self, call: Call) -> None:
        content = self._files.get(self._path(call))
        if content is None:
            raise ScpiError(-221, "no such file")
        self._panel.send(content)

    def _delete_file(self, call: Call) -> None:
        path = self._path(call)
        if path not in self._files or any(p.startswith(path + "/") for p in self._files):
            raise ScpiError(-221, f"no file {path}, or a folder that isn't empty")
        del self._files[path]

    def _save_image(self, call: Call) -> None:
        path = self._path(call)
        form = path.rpartition(".")[2].upper()
        if form not in ("PNG", "BMP"):
            raise ScpiError(-224, f"an image is written as .png or .bmp, not {form}")
        traces = {}
        record = self._panel.digitizer.record
        for channel, codes in ({} if record is None else record.codes).items():
            traces[channel] = codes.astype(np.float64) * (SPAN_DIVISIONS / 65536 / 10) + 0.5
        picture = draw(traces, (10, 10), self._settings.get("SAVe:IMAGe:COMPosition") == "INVE")
        self._store(path, png(picture) if form == "PNG" else bmp(picture))

    def _save_waveform(self, call: Call) -> None:
        """`SAVe:WAVEform <source>,<path>`: a table of times and volts."""
        source, _ = call.only(2, 2)
        name = abbreviated(source, [f"CH{n}" for n in range(1, self._panel.channels + 1)])
        path = self._path(Call(call.args[1:], call.suffixes))
        record = self._panel.digitizer.record
        if record is None or int(name[2:]) not in record.codes:
            raise ScpiError(-221, f"{name} is not acquired")
        used, plan = record.plan.inputs[int(name[2:])], record.plan
        volts = record.codes[int(name[2:])].astype(np.float64) * (used.span / 65536) + used.centre
        rows = (f"{plan.first + k * plan.step:.9e},{v:.6e}" for k, v in enumerate(volts))
        self._store(path, "\n".join(("TIME," + name, *rows, "")).encode())

    def _recall(self, call: Call) -> None:
        if call.args and call.args[0].upper() in ("FACTORY", "FAC"):
            self._panel.factory()
            return
        content = self._files.get(self._path(call))
        if content is None:
            raise ScpiError(-221, "no such file")
        self._settings.restore(f"#9{len(content):09d}{content.decode('latin-1')}")

    def _keep(self, slot: str) -> None:
        self._setups[slot] = dict(self._settings.values)

    def _bring(self, slot: str) -> None:
        if slot not in self._setups:
            raise ScpiError(-221, f"set-up {slot} is empty")
        self._settings.values = dict(self._setups[slot])
