"""Which classes a file may name: a bench file or a preset can come from a stranger, and importing runs code."""

import importlib
import os
import re
from collections.abc import Sequence
from typing import Any, Final

from instruments.errors import ConfigError

ENVIRONMENT: Final = "OHMFLOW_HANDLERS"
"""Environment variable with further packages that files may name classes of, by commas: `mylab.panels,mylab.laws`."""

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def trusted_packages(own: Sequence[str]) -> tuple[str, ...]:
    """The packages that a file may name classes of: ours, and those that the user trusts (see `ENVIRONMENT`)."""
    named = (name.strip() for name in os.environ.get(ENVIRONMENT, "").split(","))
    return (*own, *filter(None, named))


def trusted_class(reference: object, what: str, own: Sequence[str]) -> type[Any]:
    """The class that a file names as `package.module:Class`.

    Nothing outside the trusted packages is imported, and what is named must be a class that was written in one of
    them: not, say, a function or a class that a trusted module imports from elsewhere.

    Args:
        reference: as it stands in the file.
        what: its name in errors, such as "handler".
        own: our packages for this purpose, such as ("instruments.twin.panels",).

    Raises:
        ConfigError: no such text, not trusted, or no such class.
    """
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise ConfigError(f"{what} {reference!r:.200}: must be package.module:Class")
    module, _, name = reference.partition(":")
    allowed = trusted_packages(own)
    if not _within(module, allowed):
        raise ConfigError(
            f"{what} {reference!r:.200} names code outside {', '.join(allowed)}; if you trust its package, "
            f"set {ENVIRONMENT} to the package's name"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{what} {reference!r:.200}: no such package.module:Class: {error}") from error
    if not isinstance(found, type) or not _within(found.__module__, allowed):
        raise ConfigError(f"{what} {reference!r:.200}: is no class of {', '.join(allowed)}")
    return found


def _within(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)
