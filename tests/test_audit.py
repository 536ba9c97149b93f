"""What we are built on, checked without a network: exact versions, licences, known-bad releases, origins.

A look-up of published vulnerabilities (pip-audit) needs a network and is no part of this.
"""

import importlib.metadata
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]

BAD = {
    "fastapi": (">=0.151", "breaks Prefect's server"),
    "prefect": (">=3.9", "wants packages that are not everywhere"),
    "pyyaml": ("<5.4", "its full loader runs code: CVE-2020-14343"),
    "pymeasure": (">=0.17", "AgilentB1500 is mended for 0.16"),
    "pyvisa-sim": ("<0.7.1", "the twin builds on the private API of 0.7"),
    "h11": ("<0.16", "request smuggling by chunked bodies: CVE-2025-43859"),
    "h2": ("<4.3", "request splitting: CVE-2025-57804"),
    "jinja2": ("<3.1.6", "sandbox breakout by attr: CVE-2025-27516"),
    "requests": ("<2.32.4", "leaks .netrc credentials: CVE-2024-47081"),
    "urllib3": ("<2.5", "redirects that were switched off: CVE-2025-50181"),
    "starlette": ("<0.49.1", "quadratic time in Range headers: CVE-2025-62727"),
    "cryptography": ("<44.0.1", "bundled OpenSSL: CVE-2024-12797"),
    "certifi": ("<2024.7.4", "trusts GLOBALTRUST roots: CVE-2024-39689"),
    "setuptools": ("<78.1.1", "path traversal in package_index: CVE-2025-47273"),
    "pillow": ("<11.3", "heap overflow on writing DDS: CVE-2025-48379"),
    "torch": ("<2.6", "torch.load runs code even with weights_only: CVE-2025-32434"),
    "orjson": ("<3.9.15", "recursion without limit on deep JSON: CVE-2024-27454"),
    "python-multipart": ("<0.0.18", "quadratic time on boundaries: CVE-2024-53981"),
}
"""Package: (versions that must not be there, why)."""

FREE = (
    "MIT", "MIT-0", "MIT-CMU", "0BSD", "BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache", "Apache-2.0", "ISC", "PSF-2.0",
    "Zlib", "CC0-1.0", "BSL-1.0", "CNRI-Python", "Unlicense", "Apache-2.0 WITH LLVM-exception",
    "MIT License", "MIT Licence", "The MIT License", "The MIT License (MIT)", "MIT license", "BSD License",
    "Apache 2.0",
    "BSD 2-Clause License", "BSD 3-Clause License", "Apache Software License", "ISC License (ISCL)", "ISC License",
    "Python Software Foundation License", "Modified BSD License", "# Released under MIT License", "DFSG approved",
    # Weak copyleft by file: what we don't change and only use binds nobody else.
    "MPL-2.0", "MPL-2.0 AND MIT", "Mozilla Public License 2.0 (MPL 2.0)",
)  # fmt: skip
EXCEPTIONS = {
    "text-unidecode": "Artistic License or GPL, at our choice: we take the former; comes with python-slugify",
    "hdf5plugin": "its metadata says nothing: MIT, with BSD and zlib codecs; for tests only, comes with nexusformat",
}
UNPINNED = {
    "ohmflow": "ourselves",
    "setuptools": "comes with the environment, which makes it",
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> tuple[dict[str, importlib.metadata.Distribution], list[str]]:
    """Everything that `ohmflow[dev]` needs, directly or not, on this machine; and the needs that are not met."""
    found: dict[str, importlib.metadata.Distribution] = {}
    unmet: list[str] = []
    waiting = [(Requirement("ohmflow"), "the tests")]
    while waiting:
        requirement, of = waiting.pop()
        name = canonical(requirement.name)
        try:
            package = importlib.metadata.distribution(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            if name == "ohmflow":
                pytest.skip("ohmflow is not installed as a package: nobody says what it needs")
            unmet.append(f"{of} needs {requirement}, which is not installed")
            continue
        if not requirement.specifier.contains(package.version, prereleases=True):
            unmet.append(f"{of} needs {requirement}; installed is {package.version}")
        if name not in found or requirement.extras:
            found[name] = package
            extras = ("dev", "") if name == "ohmflow" else tuple(requirement.extras) or ("",)
            waiting += [(one, f"{requirement.name} {package.version}") for one in needed(package, extras)]
    return found, unmet


def needed(package: importlib.metadata.Distribution, extras: tuple[str, ...]) -> Iterator[Requirement]:
    for text in package.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


@pytest.fixture(scope="module")
def packages() -> dict[str, importlib.metadata.Distribution]:
    return installed()[0]


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for entry in entries:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", entry), f"{entry!r} is no exact version"
    found = {canonical(name): version for name, version in (entry.split("==") for entry in entries)}
    assert len(found) == len(entries)
    return found


def test_every_package_is_there_in_the_version_that_is_pinned(
    packages: dict[str, importlib.metadata.Distribution], pins: dict[str, str]
) -> None:
    assert len(packages) > 100
    for name, package in packages.items():
        if name in UNPINNED:
            continue
        assert name in pins, f"{name} {package.version} is needed and not in constraints.txt"
        # A build's own mark, such as +cpu, is no other version.
        assert package.version.split("+")[0] == pins[name], f"{name}: {package.version} installed, {pins[name]} pinned"


def test_every_need_is_met() -> None:
    assert installed()[1] == []


def test_what_we_ask_for_ourselves_admits_the_pins(pins: dict[str, str]) -> None:
    for text in importlib.metadata.distribution("ohmflow").requires or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "dev"}):
            continue  # extras that nothing here needs are the user's to pin
        assert canonical(requirement.name) in pins, requirement.name
        assert requirement.specifier.contains(pins[canonical(requirement.name)], prereleases=True), text


def test_no_known_bad_release(packages: dict[str, importlib.metadata.Distribution], pins: dict[str, str]) -> None:
    versions = {**pins, **{name: package.version for name, package in packages.items()}}
    for name, (bad, why) in BAD.items():
        if name in versions:
            version = versions[name].split("+")[0]
            assert not SpecifierSet(bad).contains(version, prereleases=True), f"{name} {version}: {why}"


def licences(package: importlib.metadata.Distribution) -> list[str]:
    """What its metadata says, taken apart."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        parts = re.split(r"\s+(?:AND|OR)\s+|[()]", expression)
        return [part.strip() for part in parts if part.strip()]
    named = [text.split("::")[-1].strip() for text in about.get_all("Classifier") or [] if text.startswith("License")]
    return named or [(about.get("License") or "").splitlines()[0].strip() if about.get("License") else ""]


def test_every_licence_is_known_and_none_binds_us(packages: dict[str, importlib.metadata.Distribution]) -> None:
    for name, package in packages.items():
        said = licences(package)
        if name in EXCEPTIONS:
            assert not set(said) <= set(FREE), f"{name} needs no exception any more: {said}"
            continue
        assert set(said) <= set(FREE), f"{name}: {said}"
        assert not any(re.search(r"\bA?L?GPL|GNU", text) for text in said), f"{name}: {said}"


def test_nothing_was_installed_from_an_address(packages: dict[str, importlib.metadata.Distribution]) -> None:
    for name, package in packages.items():
        origin = json.loads(package.read_text("direct_url.json") or "{}")
        if name != "ohmflow":
            url = str(origin.get("url", ""))
            # A wheel from a folder of this machine is how a laboratory without a network installs.
            assert not url or url.startswith("file:"), f"{name} comes from {url}"


def test_the_constraints_hold_nothing_that_nobody_needs(
    packages: dict[str, importlib.metadata.Distribution], pins: dict[str, str]
) -> None:
    elsewhere = {"pandas-stubs"}  # for other Python versions or platforms than this one
    assert set(pins) - set(packages) <= elsewhere | {"colorama", "exceptiongroup", "tzdata", "greenlet"}
