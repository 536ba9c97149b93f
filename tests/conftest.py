"""What all tests share: reproducible property tests, a home of their own, the data kept beside the repository."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ohmflow", derandomize=True, deadline=None)
settings.load_profile("ohmflow")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _no_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever keeps state in the user's home keeps it in a temporary folder instead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OHMFLOW_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("OHMFLOW_HANDLERS", "tests,twin")  # some tests build benches of instruments of their own
        yield


@pytest.fixture
def ohmflow_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that this test has for itself."""
    monkeypatch.setenv("OHMFLOW_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference data kept beside the repository; tests that need it are skipped where it isn't."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the reference data (../shared beside the repository) is not here")
    return folder
