"""What a bench file may say of a simulated oscilloscope, whatever its make."""

from collections.abc import Mapping
from dataclasses import dataclass

from instruments.errors import ConfigError
from instruments.quantity import to_si


@dataclass(frozen=True)
class ScopeOptions:
    """Options of a panel.

    Attributes:
        identity: reply to `*IDN?`.
        channels: number of inputs, 1..8.
        probes: the bench's node at each channel's probe.
        external: the node at the external trigger input.
        noise: of one conversion, rms, as a fraction of the full screen.
        bandwidth: Hz.
        memory: longest record, points.
        rate: conversions per second.
    """

    identity: str
    channels: int
    probes: Mapping[int, str]
    external: str
    noise: float
    bandwidth: float
    memory: int
    rate: float

    @classmethod
    def read(cls, options: Mapping[str, str], **defaults: str) -> "ScopeOptions":
        """From a device's `options:`, all strings: `idn`, `channels`, `probes` ("1=x,2=y"), `external`, and the rest.

        Raises:
            ConfigError: an option is unknown or can't be read.
        """
        given = {"probes": "", "external": "run", "channels": "4"} | defaults | dict(options)
        known = {"idn", "noise", "bandwidth", "memory", "rate", "probes", "external", "channels"}
        if unknown := set(given) - known:
            raise ConfigError(f"oscilloscope: no option {sorted(unknown)[0]!r}; there are {', '.join(sorted(known))}")
        channels = int(to_si(given["channels"], "", what="channels"))
        if not 1 <= channels <= 8:
            raise ConfigError(f"oscilloscope: channels: {channels} is not 1 to 8")
        return cls(
            given["idn"],
            channels,
            parse_probes(given["probes"], channels),
            given["external"],
            to_si(given["noise"], "", what="noise"),
            to_si(given["bandwidth"], "Hz", what="bandwidth"),
            int(to_si(given["memory"], "", what="memory")),
            to_si(given["rate"], "Hz", what="rate"),
        )


def parse_probes(text: str, channels: int) -> dict[int, str]:
    """Which node each channel's probe hangs on, from "1=x,2=y".

    Raises:
        ConfigError: not of that form, or no such channel.
    """
    probes: dict[int, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        channel, _, node = (part.strip() for part in item.partition("="))
        if not (channel.isdecimal() and node and 1 <= int(channel) <= channels):
            raise ConfigError(f"oscilloscope: probes: {item!r}; write for example '1=x,2=y' (channels 1 to {channels})")
        probes[int(channel)] = node
    return probes
