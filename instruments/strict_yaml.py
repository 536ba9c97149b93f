"""The one reader of YAML that people write: no code, no surprises, bounded, and an error that says where.

Station, bench, preset, fault profile, schedule and plan files all come through here before anything believes them.
"""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from instruments.errors import ConfigError

MAX_BYTES: Final = 1 << 20
"""Of a file; ours have some kilobytes."""
MAX_DEPTH: Final = 32
"""Mappings and lists within each other; ours go six deep. The reader itself recurses, so this bounds its stack."""
MAX_NODES: Final = 20_000
"""Keys, values, mappings and lists; some 1 s of reading. The largest schedule has 6,000."""

_SCALARS = (
    ("null", r"~|null|", "~n"),
    ("bool", r"true|false", "tf"),
    ("int", r"[-+]?[0-9]{1,18}", "-+0123456789"),
    ("float", r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", "-+0123456789"),
)


_SURROGATE = re.compile(r"[\ud800-\udfff]")


class _Refused(yaml.YAMLError):
    """YAML, but not of the kind that is allowed here."""


class _Texts(yaml.SafeLoader):
    """Mappings, lists and texts, nothing else: no tags, no aliases, no key twice, no more than so much."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        place = f"line {event.start_mark.line + 1}"
        # A few lines of aliases of aliases can stand for gigabytes, and no file of ours needs one.
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(f"{place}: aliases (*name) are not allowed; write the value out")
        if getattr(event, "tag", None) not in (None, "!"):
            raise _Refused(f"{place}: tags (!name) are not allowed")
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Refused(f"{place}: more than {MAX_NODES} keys and values; at most that many are read")
        if self._depth >= MAX_DEPTH:
            raise _Refused(f"{place}: nested too deeply; at most {MAX_DEPTH} mappings and lists within each other")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode) and _SURROGATE.search(node.value):
            try:  # "\ud83d\ude00" is one character, as in JSON
                node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError as error:
                raise _Refused(f"{place}: half a character, which nothing could print") from error
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused(f"line {key.start_mark.line + 1}: a key must be a text")
            if key.value in seen:
                raise _Refused(f"line {key.start_mark.line + 1}: {key.value[:80]!r} is given twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Values(_Texts):
    """Also whole numbers, numbers, true, false and null: no dates, and 12:30, 0x10, yes and on stay texts."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return int(self.construct_scalar(node))  # 010 is ten; the base class would read it as octal


_Texts.yaml_implicit_resolvers = {}
_Values.yaml_implicit_resolvers = {}
_Values.add_constructor("tag:yaml.org,2002:int", _Values.construct_yaml_int)
for _tag, _pattern, _first in _SCALARS:
    _letters = [*_first, ""] if _tag == "null" else list(_first)
    _Values.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), _letters)


def read_yaml(path: Path, kind: str, *, texts: bool = False) -> Any:
    """A file's content as mappings, lists, texts, numbers (infinite beyond 1e308), true, false and None.

    Args:
        path: the file.
        kind: what it is, for errors: "station file".
        texts: leave every scalar the text that it is.

    Raises:
        ConfigError: as `read_bytes` and `parse_yaml`; the message begins with kind and path.
    """
    return parse_yaml(read_bytes(path, kind), f"{kind} {path}", texts=texts)


def read_bytes(path: Path, kind: str) -> bytes:
    """A small file's bytes.

    Raises:
        ConfigError: missing, no plain file, or larger than 1 MiB.
    """
    try:
        if not path.exists():
            raise ConfigError(f"{kind} {path}: not found")
        if not path.is_file():  # a pipe would be waited for, for ever
            raise ConfigError(f"{kind} {path}: can't be read: it is no plain file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{kind} {path}: can't be read: {error}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{kind} {path} is larger than 1 MiB; that is no {kind}")
    return raw


def parse_yaml(raw: bytes, what: str, *, texts: bool = False) -> Any:
    """The content of a file's bytes, as `read_yaml`; `what` names it in errors.

    Raises:
        ConfigError: not UTF-8, no YAML, or YAML with tags, aliases, a key given twice, more than `MAX_DEPTH` levels
            or more than `MAX_NODES` values.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} is not YAML: not UTF-8 text, from byte {error.start} on") from error
    try:
        loader = (_Texts if texts else _Values)(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:  # odd scalars raise plain ValueErrors
        raise ConfigError(f"{what} is not YAML: {' '.join(str(error).split())[:400]}") from error
