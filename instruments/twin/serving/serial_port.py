"""A serial line as a pseudo-terminal: what `ASRL/dev/pts/N::INSTR` and any program for serial ports speak to."""

import asyncio
import contextlib
import errno
import os
import pty
import termios
import tty
from collections import deque
from pathlib import Path

from instruments.twin.serving.instrument import Disconnected, ServedInstrument

_RATES = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}
_CHUNK = 4096
_MOST_UNREAD = 1 << 16
"""Bytes of replies that are kept for a program that doesn't read; what comes then is lost, as on a serial line."""


class SerialPort:
    """The instrument's end of a line that programs open and close as they like.

    The terminal is kept open here only while no program has it: so the end of a program is seen, and what it left
    unfinished on the line or unread is forgotten.

    Args:
        instrument: whose line it is.
        link: where a symbolic link to the terminal is put, so that its name stays the same; None for no link.

    Attributes:
        name: of the terminal.
        link: the symbolic link.
    """

    pushes = True

    def __init__(self, instrument: ServedInstrument, link: Path | None) -> None:
        self._instrument = instrument
        self._master, self._keeper = pty.openpty()
        tty.setraw(self._keeper)
        os.set_blocking(self._master, False)
        self.name = os.ttyname(self._keeper)
        self.link = link
        self._out: deque[bytes] = deque()
        self._held: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False
        if link is not None:
            part = link.with_name(link.name + ".part")
            part.unlink(missing_ok=True)
            part.symlink_to(self.name)
            os.replace(part, link)

    def start(self) -> None:
        """Listen."""
        asyncio.get_running_loop().add_reader(self._master, self._arrived)
        self._reading = True

    def close(self) -> None:
        """Hang up."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
        if self._timer is not None:
            self._timer.cancel()
        os.close(self._master)
        if self._keeper >= 0:
            os.close(self._keeper)
        if self.link is not None and self.link.is_symlink() and os.readlink(self.link) == self.name:
            self.link.unlink()

    def receive(self, data: bytes) -> None:
        """Send a reply when it is due."""
        due = self._instrument.pacer.due()
        self._held.append(data)
        if due <= 0 and self._timer is None:
            self._send()
        else:
            self._wait(due)

    def _wait(self, seconds: float) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._when_due)
            if self._reading:
                loop.remove_reader(self._master)
                self._reading = False

    def _when_due(self) -> None:
        self._timer = None
        self._send()
        asyncio.get_running_loop().add_reader(self._master, self._arrived)
        self._reading = True

    def _send(self) -> None:
        self._out.extend(self._held)
        self._held.clear()
        self._flush()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._out:
            try:
                sent = os.write(self._master, self._out[0])
            except BlockingIOError:
                while sum(map(len, self._out)) > _MOST_UNREAD:
                    self._out.pop()
                loop.add_writer(self._master, self._flush)
                return
            except OSError:
                self._out.clear()
                break
            if sent == len(self._out[0]):
                self._out.popleft()
            else:
                self._out[0] = self._out[0][sent:]
        loop.remove_writer(self._master)

    def _arrived(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._hung_up()
            return
        if self._keeper >= 0:
            os.close(self._keeper)  # whoever wrote this has the terminal open
            self._keeper = -1
        rate = self._instrument.device.rate
        if rate is not None:
            with contextlib.suppress(termios.error):
                rate.host = _RATES.get(termios.tcgetattr(self._master)[5], rate.host)
        with contextlib.suppress(Disconnected):  # a line has no connection that could be cut
            self._instrument.stream(self, data)
        busy = self._instrument.pacer.due()
        if busy > 0:
            self._wait(busy)

    def _hung_up(self) -> None:
        """The last program that had the terminal open has closed it."""
        self._keeper = os.open(self.name, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._keeper)
        termios.tcflush(self._keeper, termios.TCIOFLUSH)
        self._out.clear()
        self._held.clear()
        self._instrument.device.drop_input()
        if self._instrument.device.panel is not None:
            self._instrument.device.panel.clear()
        self._instrument.forget(self)
