"""Telling people elsewhere how runs end, and when one needs them: by mail, chat or whatever apprise knows.

Addresses are secrets (they have passwords and tokens in them), so a schedule file only says where they are: in an
environment variable, or in a file that nobody but its owner can read. They are in no record, no log, and not in
Prefect's database; what is said of a failure names an address by its number.
"""

import logging
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.records.masking import masked
from instruments.errors import ConfigError
from workflows.console import say

if TYPE_CHECKING:
    from apprise import NotifyBase

EVENTS: Final = ("completed", "failed", "interrupted", "waiting", "operator")
_FROM, _ON = "OHMFLOW_NOTIFY_FROM", "OHMFLOW_NOTIFY_ON"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_MOST = 16
_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class Notify:
    """Of what to tell, and where the addresses are.

    Attributes:
        urls_from: name of an environment variable (capitals), or path of a file with mode 600; "" for nobody.
        on: some of `EVENTS`.
    """

    urls_from: str = ""
    on: tuple[str, ...] = ()

    @classmethod
    def read(cls, entry: Any, folder: Path) -> "Notify":
        """From a schedule file's section `notify`.

        Args:
            entry: the section.
            folder: that a relative path is meant in.

        Raises:
            ConfigError: something in it is unknown or missing.
        """
        if entry is None:
            return cls()
        if not isinstance(entry, dict):
            raise ConfigError("notify: must be a mapping")
        if unknown := [key for key in entry if key not in ("urls_from", "on")]:
            raise ConfigError(f"notify: unknown key {unknown[0]!r:.80}; allowed: urls_from, on")
        source, on = entry.get("urls_from"), entry.get("on")
        # An address written here by mistake must not be repeated in a message that ends up in a log.
        if not isinstance(source, str) or not source or "://" in source or len(source) > 1000:
            raise ConfigError(
                "notify: urls_from must be the name of an environment variable (capitals), or a file with mode 600; "
                "addresses themselves are secrets and don't belong here"
            )
        if not isinstance(on, list) or not on or any(one not in EVENTS for one in on):
            raise ConfigError(f"notify: on {on!r:.80} must be a list of some of {', '.join(EVENTS)}")
        if not _VARIABLE.fullmatch(source):
            source = str((folder / Path(source).expanduser()).absolute())
        return cls(source, tuple(dict.fromkeys(on)))

    @classmethod
    def here(cls) -> "Notify":
        """What the service or the worker that started this process was told."""
        source = os.environ.get(_FROM, "")
        return cls(source, tuple(one for one in os.environ.get(_ON, "").split(",") if one in EVENTS))

    def environment(self) -> dict[str, str]:
        """Variables by which processes of runs are told; no address is in them."""
        return {_FROM: self.urls_from, _ON: ",".join(self.on)} if self.urls_from else {}

    def check(self) -> None:
        """See that the addresses are there and can be used.

        Raises:
            ConfigError: they are not; no address is in the message.
        """
        if self.urls_from:
            self._servers()

    def send(self, event: str, title: str, text: str) -> None:
        """Tell of an event, if it is to be told; never raises, for a run must not fail by its messenger.

        Args:
            event: one of `EVENTS`.
            title: one line.
            text: some sentences; what looks like a secret in them is masked.
        """
        if not self.urls_from or event not in self.on:
            return
        try:
            from apprise import Apprise, NotifyType

            kinds = {"completed": NotifyType.SUCCESS, "failed": NotifyType.FAILURE, "interrupted": NotifyType.WARNING}
            for number, server in enumerate(self._servers(), start=1):
                one = Apprise()
                one.add(server)
                if not one.notify(
                    body=masked(text), title=masked(title), notify_type=kinds.get(event, NotifyType.INFO)
                ):
                    say(f"notification {event!r} could not be given to address {number} of {self.urls_from}", "yellow")
        except ConfigError as error:
            say(f"notification {event!r} could not be given: {error}", "yellow")
        except Exception as error:  # whatever a messenger comes upon; its message may hold the address
            say(f"notification {event!r} could not be given: {type(error).__name__}", "yellow")

    def _servers(self) -> "list[NotifyBase]":
        # apprise's own log has addresses in it.
        logger = logging.getLogger("apprise")
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
        from apprise import Apprise

        words = _secrets(self.urls_from)
        if not 1 <= len(words) <= _MOST:
            raise ConfigError(f"notify: {self.urls_from} has {len(words)} addresses; allowed: 1..{_MOST}")
        found = []
        for number, word in enumerate(words, start=1):
            server = Apprise.instantiate(word, suppress_exceptions=True)
            if server is None:
                raise ConfigError(f"notify: address {number} of {self.urls_from} is none that apprise understands")
            found.append(server)
        return found


def _secrets(source: str) -> list[str]:
    """Addresses, one a line or a word; `#` begins a comment line."""
    if _VARIABLE.fullmatch(source):
        text = os.environ.get(source, "")
        if not text.strip():
            raise ConfigError(f"notify: environment variable {source} is not set; put the addresses in it")
    else:
        text = _private(Path(source))
    lines = (line.strip() for line in text[:_MOST_BYTES].splitlines())
    return [word for line in lines if line and not line.startswith("#") for word in line.split()]


def _private(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077 or about.st_uid != os.geteuid():
                raise ConfigError(f"notify: {path} has addresses in it; it must be yours alone: chmod 600 {path}")
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"notify: {path} can't be read ({os.strerror(error.errno or 0)})") from error


def told(event: str, name: str, run: str, text: str, *, where: Mapping[str, str] | None = None) -> None:
    """Tell of a run, as the service that started this process was told to.

    Args:
        event: one of `EVENTS`.
        name: of the flow.
        run: its id; "" if it has none.
        text: what became of it.
        where: more lines, by name.
    """
    lines = [text, *(f"{key}: {value}" for key, value in (where or {}).items())]
    Notify.here().send(event, f"ohmflow: {' '.join(filter(None, (name, run)))} {event}", "\n".join(lines))
