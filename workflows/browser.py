"""Printing a page to PDF with a browser of this computer, without a window and without the network."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from workflows.errors import RequestError

_NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
    "microsoft-edge-stable", "msedge",
)  # fmt: skip
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
_PATIENCE = 120.0
"""Seconds that a browser may take."""


def find_browser() -> Path:
    """A browser that prints without a window; OHMFLOW_BROWSER names one.

    Raises:
        RequestError: there is none.
    """
    named = os.environ.get("OHMFLOW_BROWSER", "")
    for candidate in (named,) if named else (*_NAMES, *_PLACES):
        if found := shutil.which(candidate):
            return Path(found)
    said = f"OHMFLOW_BROWSER names {named!r}, which can't be run" if named else "none was found"
    raise RequestError(
        f"a PDF needs Chromium, Chrome or Edge on this computer, and {said}; install one, name one in OHMFLOW_BROWSER, "
        "or leave --pdf away and print the page from any browser"
    )


def print_pdf(page: Path, pdf: Path, browser: Path) -> Path:
    """Print a page; the PDF appears whole or not at all.

    Raises:
        RequestError: the browser did not make it.
    """
    with tempfile.TemporaryDirectory(prefix="ohmflow-") as profile:
        made = Path(profile) / "page.pdf"
        words = [
            str(browser), "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", f"--user-data-dir={profile}/profile", "--no-pdf-header-footer",
            f"--print-to-pdf={made}", *(["--no-sandbox"] if _is_root() else []), page.absolute().as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
            said = " ".join(done.stderr.split())[-200:]
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)[:200]
        if not made.is_file():
            raise RequestError(f"{browser} did not print {page}: {said or 'it said nothing'}")
        temporary = pdf.with_name(f".{pdf.name}.{os.getpid()}")
        shutil.copyfile(made, temporary)
        os.replace(temporary, pdf)
    return pdf


def _is_root() -> bool:
    """Chromium's sandbox refuses to work for root, as in a container."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
