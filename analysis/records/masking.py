"""Keeping secrets out of records: a run's file is handed on, and what was typed may have a password in it."""

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "***"

_WORD = r"[\w-]{0,40}(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|credentials?)[\w-]{0,20}"
_VALUE = r"'[^']*'|\"[^\"]*\"|[^\s'\",;}\]]+"
_PATTERNS: Final = (
    # postgresql://lab:PASSWORD@host
    re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/:@'\"]{0,200}:)[^\s/'\"]{1,500}(?=@)"),
    # --api-key VALUE, as an option of a command line
    re.compile(rf"((?<![\w-])--?{_WORD}\s+)(?:{_VALUE})", re.IGNORECASE),
    # API_KEY=VALUE, password: VALUE
    re.compile(
        rf"((?<![\w-])(?:--?)?{_WORD}['\"]?(?:\s{{0,3}}=\s{{0,3}}|\s{{0,3}}:\s{{1,3}}))(?:{_VALUE})", re.IGNORECASE
    ),
    # Authorization: Bearer VALUE
    re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9+/=._~-]{8,}"),
    # keys of Prefect's cloud
    re.compile(r"(\bpn[ub]_)\w{8,}"),
)
_NAME = re.compile(_WORD, re.IGNORECASE)


def masked(text: str) -> str:
    """The text with passwords, tokens and keys replaced by `MASK`: in URLs, options, assignments and headers.

    What is not marked as a secret can't be known to be one. Masking twice is masking once.
    """
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text


def masked_values(values: Any) -> Any:
    """The same for JSON's types: every text in it, and whatever has a secret's name."""
    if isinstance(values, str):
        return masked(values)
    if isinstance(values, Mapping):
        return {
            key: MASK if isinstance(value, str) and value and _NAME.fullmatch(str(key)) else masked_values(value)
            for key, value in values.items()
        }
    return [masked_values(value) for value in values] if isinstance(values, list | tuple) else values
