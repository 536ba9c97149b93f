"""The command line in the test's own process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from workflows import cli

Ohmflow = Callable[..., tuple[int, str, str]]


def in_process(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int = 160
) -> Ohmflow:
    """`ohmflow` in a folder, with a home of its own: called with its arguments it gives exit code, stdout, stderr."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OHMFLOW_HOME", str(home))
    monkeypatch.setenv("COLUMNS", str(columns))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ohmflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run
