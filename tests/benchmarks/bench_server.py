"""The served bench under load: throughput beside a bare echo, a long waveform, many clients, a long soak, garbage.

    python tests/benchmarks/bench_server.py [throughput|waveform|clients|soak|malformed|kills|all]

The server is a process of its own, as `ohmflow bench serve` starts it. Throughput is compared pair by pair with an
asyncio server that answers every line with as many bytes and does nothing else; both are asked in turn, so that what
else the machine does falls on both. Where many lines are under way at once, there are two such echoes: one that looks
at each line and answers it, as anything must that tells one message from another, and one that counts line feeds and
answers all of them with one write.
"""

import argparse
import atexit
import os
import random
import re
import resource
import selectors
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ECHO = """
import asyncio, sys
at_once = sys.argv[1] == "all"
reply = b"x" * (int(sys.argv[2]) - 1) + b"\\n"
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        if at_once:
            self.transport.write(reply * data.count(b"\\n"))
            return
        for line in data.splitlines():
            self.transport.write(reply)
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Bench:
    """`ohmflow bench serve` in a process of its own."""

    def __init__(self, *options: str, station: str = "station-twin.yaml") -> None:
        self._folder = tempfile.TemporaryDirectory()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OHMFLOW_HOME": self._folder.name}
        command = [sys.executable, "-m", "workflows.cli", "bench", "serve", station, "--port-base", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        atexit.register(self.process.kill)  # where a check fails, too
        self.ports: dict[str, int] = {}
        self.gateway = 0
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ready"):
                break
            if found := re.match(r"\s+(\S+): TCPIP0::[^:]+::(\d+)::SOCKET", line):
                self.ports[found[1]] = int(found[2])
            if found := re.search(r"TCPIP0::[^:]+,(\d+)::", line):
                self.gateway = int(found[1])

    def connect(self, role: str) -> socket.socket:
        """A connection to an instrument."""
        return connect(self.ports[role])

    def cpu(self) -> float:
        """Seconds of processor the server has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Megabytes the server holds."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    def close(self) -> int:
        """Stop it; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._folder.cleanup()
        return code


def connect(port: int) -> socket.socket:
    """A connection that sends at once."""
    made = socket.create_connection(("127.0.0.1", port), 30)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def ask(link: socket.socket, message: bytes) -> bytes:
    """Send a line, read a line."""
    link.sendall(message + b"\n")
    return read_line(link)


def read_line(link: socket.socket) -> bytes:
    """Up to and including a line feed."""
    reply = b""
    while not reply.endswith(b"\n"):
        piece = link.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        reply += piece
    return reply


def exchanges(link: socket.socket, message: bytes, seconds: float, window: int) -> float:
    """Exchanges a second with `window` of them under way."""
    line, size, done = message + b"\n", 0, 0
    size = len(ask(link, message))
    end = time.perf_counter() + seconds
    begun = time.perf_counter()
    while time.perf_counter() < end:
        link.sendall(line * window)
        missing = size * window
        while missing:
            missing -= len(link.recv(min(missing, 1 << 20)))
        done += window
    return done / (time.perf_counter() - begun)


def throughput(pairs: int = 9, seconds: float = 0.6) -> None:
    """Exchanges a second, beside an echo of the same sizes."""
    bench = Bench()
    cases = [
        ("analyzer", b"*IDN?"), ("oscilloscope", b"*IDN?"), ("oscilloscope", b":CHANnel1:RANGe?"),
        ("oscilloscope", b":WAVeform:PREamble?"),
    ]  # fmt: skip
    link = bench.connect("oscilloscope")
    link.sendall(b":TRIGger:SWEep AUTO\n:DIGitize\n")
    ask(link, b"*OPC?")
    for points in (1000, 62500):
        cases.append(("oscilloscope", b":WAVeform:POINts:MODE RAW;:WAVeform:POINts %d;:WAVeform:DATA?" % points))
    head = ("exchange", "bytes", "window", "bench/s", "by line/s", "share", "all/s", "share")
    print("{:72s} {:>9s} {:>6s} {:>8s} {:>9s} {:>6s} {:>8s} {:>6s}".format(*head))
    for role, message in cases:
        served = bench.connect(role)
        reply = ask(served, message) if b"DATA" not in message else _block(served, message)
        echoes = [_echo(kind, len(reply)) for kind in ("lines", "all")]
        for window in (1, 16):
            found = []
            for number in range(pairs):
                links = [served, *(link for _, link in echoes)]
                links = links[number % 3 :] + links[: number % 3]
                rates = {id(one): _exchanges(one, message, len(reply), seconds, window) for one in links}
                found.append((rates[id(served)], *(rates[id(link)] for _, link in echoes)))
            ours, lines, every = (statistics.median(column) for column in zip(*found, strict=True))
            shares = [statistics.median(row[0] / row[n] for row in found) for n in (1, 2)]
            sizes = f"{len(message) + 1}/{len(reply)}"
            shown = f"{role + ' ' + message.decode():72s} {sizes:>9s} {window:6d} {ours:8.0f}"
            print(f"{shown} {lines:9.0f} {shares[0]:6.0%} {every:8.0f} {shares[1]:6.0%}", flush=True)
        for process, link in echoes:
            process.kill()
            process.wait()
            link.close()
        served.close()
    print(f"load: {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    bench.close()


def _echo(kind: str, size: int) -> "tuple[subprocess.Popen[str], socket.socket]":
    """An echo in a process of its own, and a connection to it."""
    process = subprocess.Popen([sys.executable, "-c", ECHO, kind, str(size)], stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    assert process.stdout is not None
    return process, connect(int(process.stdout.readline()))


def _exchanges(link: socket.socket, message: bytes, size: int, seconds: float, window: int) -> float:
    line, done = (message + b"\n") * window, 0
    begun = time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds:
        link.sendall(line)
        missing = size * window
        while missing:
            missing -= len(link.recv(min(missing, 1 << 20)))
        done += window
    return done / passed


def _block(link: socket.socket, message: bytes) -> bytes:
    """Ask for an IEEE 488.2 block; all of the reply."""
    link.sendall(message + b"\n")
    reply = bytearray()
    while len(reply) < 10 or len(reply) < 11 + int(reply[2:10]):
        piece = link.recv(1 << 20)
        if not piece:
            raise ConnectionError("closed")
        reply += piece
    return bytes(reply)


def waveform(repeats: int = 7) -> None:
    """A million points from the oscilloscope, as a binary block."""
    bench = Bench()
    link = bench.connect("oscilloscope")
    link.sendall(
        b":TIMebase:RANGe 1E-3;:TRIGger:SWEep AUTO;:WAVeform:POINts:MODE RAW;:WAVeform:POINts 1000000\n:DIGitize\n"
    )
    ask(link, b"*OPC?")
    assert ask(link, b":WAVeform:POINts?").strip() == b"+1000000"
    for form, size in ((b"BYTE", 1), (b"WORD", 2)):
        times = []
        for _ in range(repeats):
            begun = time.perf_counter()
            reply = _block(link, b":WAVeform:FORMat %s;DATA?" % form)
            times.append(time.perf_counter() - begun)
            assert len(reply) == 11 + size * 1_000_000
        print(f"1M points {form.decode()}: median {statistics.median(times):.3f} s, longest {max(times):.3f} s")
    bench.close()


def clients(number: int = 32, exchanges_each: int = 500) -> None:
    """Many clients at once, on all instruments; every reply must be the right one for its client."""
    bench = Bench()
    queries = {
        "analyzer": [b"*IDN?", b"*OPC?", b"UNT?", b"ERR?"],
        "oscilloscope": [b"*IDN?", b"*OPC?", b":CHAN1:RANG?"],
    }
    right = {}
    for role, messages in queries.items():
        with bench.connect(role) as link:
            right |= {(role, message): ask(link, message) for message in messages}
    selector = selectors.DefaultSelector()
    rng = random.Random(1)
    waiting: dict[socket.socket, list[object]] = {}

    def send(link: socket.socket, role: str, left: int) -> None:
        message = rng.choice(queries[role])
        waiting[link] = [role, message, left, time.perf_counter(), b""]
        link.sendall(message + b"\n")

    begun, delays = time.perf_counter(), []
    for n in range(number):
        role = ("analyzer", "oscilloscope")[n % 2]
        link = bench.connect(role)
        selector.register(link, selectors.EVENT_READ)
        send(link, role, exchanges_each)
    while waiting:
        for key, _ in selector.select(30):
            link = key.fileobj
            role, message, left, sent, got = waiting[link]
            got += link.recv(65536)
            waiting[link][4] = got
            if not got.endswith(b"\n"):
                continue
            delays.append(time.perf_counter() - sent)
            assert got == right[role, message], (role, message, got)
            if left > 1:
                send(link, role, left - 1)
            else:
                del waiting[link]
                selector.unregister(link)
                link.close()
    seconds = time.perf_counter() - begun
    delays.sort()
    print(
        f"{number} clients at once: {len(delays)} exchanges, all right, {len(delays) / seconds:.0f}/s, "
        f"delay median {1e3 * delays[len(delays) // 2]:.2f} ms, P99 {1e3 * delays[len(delays) * 99 // 100]:.2f} ms"
    )
    bench.close()


def soak(hours: float = 24.0, minutes_idle: float = 0.0) -> None:
    """A day of the bench's time: measuring, pausing, clients coming and going; memory must not grow."""
    bench = Bench("--state", "none")
    link = bench.connect("analyzer")
    for setting in (b"*RST", b"FMT 1,0", b"CN 1,2,3", b"AV 1,1", b"AAD 1,0", b"TSC 1"):
        link.sendall(setting + b"\n")
    assert ask(link, b"ERRX?").startswith(b"+0"), "set-up refused"
    ask(link, b"*OPC?")
    scope = bench.connect("oscilloscope")
    scope.sendall(b":TIMebase:RANGe 1E-3;:TRIGger:SWEep AUTO\n")
    bench_seconds, rounds, begun, memory = 0.0, 0, time.perf_counter(), []
    while bench_seconds < 3600 * hours:
        rounds += 1
        link.sendall(b"DV 2,0,3;DV 1,0,0.2,1E-4;TI 1,0;DV 1,0,0;DV 2,0,0\n")
        read_line(link)
        scope.sendall(b":DIGitize\n")
        assert ask(scope, b"*OPC?") == b"1\n"
        if rounds % 10 == 0:
            with bench.connect("analyzer") as other:
                other.sendall(b"*ID")  # and is gone in the middle of its message
            assert ask(link, b"ERRX?").startswith(b"+0")
        if rounds % 50 == 0:
            memory.append(bench.memory())
        link.sendall(b"PA 99\n")
        bench_seconds += 99
    assert ask(link, b"ERRX?").startswith(b"+0")
    cpu = bench.cpu()
    code = bench.close()
    print(
        f"soak: {bench_seconds / 3600:.1f} h of the bench in {time.perf_counter() - begun:.1f} s ({rounds} rounds, "
        f"{cpu:.1f} s of processor), memory {memory[0]:.0f} -> {memory[-1]:.0f} MB, exit code {code}"
    )


def malformed(messages: int = 100_000, seed: int = 1) -> None:
    """Garbage over the sockets: the server lives, and the instruments still report the right errors."""
    bench = Bench()
    rng = random.Random(seed)
    good = {
        "analyzer": [b"CN 1", b"DV 1,0,0.1,1E-3", b"TI 1,0", b"WV 1,1,0,0,1,11", b"MM 2,1", b"XE", b"*IDN?", b"ERRX?"],
        "oscilloscope": [b":CHAN1:RANG 2", b":TIM:RANG 1E-3", b":WAV:DATA?", b"*IDN?", b":SYST:ERR?", b":TRIG:LEV 0.1"],
        "TCPIP0::127.0.0.2::inst0::INSTR": [b"CH1:SCALE 1", b"*IDN?", b"*ESR?", b"CURVE?", b"HOR:RECO 1000"],
    }
    checks = {
        "analyzer": (b"FROBNICATE 1", b"ERRX?", b"+100,"),
        "oscilloscope": (b":FROBnicate 1", b":SYSTem:ERRor?", b"-113,"),
    }
    begun, sent, wrong = time.perf_counter(), 0, 0
    links: dict[str, socket.socket] = {}
    while sent < messages:
        for role, lines in good.items():
            link = links.get(role)
            if link is None:
                link = links[role] = bench.connect(role)
            batch = [_spoil(rng, rng.choice(lines)) for _ in range(200)]
            link.sendall(b"\n".join(batch) + b"\n")
            sent += len(batch)
            _drain(link)
            if rng.random() < 0.2:
                link.sendall(_spoil(rng, rng.choice(lines)))  # without an end
                link.close()
                del links[role]
        for role, (bad, query, error) in checks.items():
            with bench.connect(role) as link:
                link.settimeout(20)
                while not ask(link, query).lstrip(b"+").startswith(b"0"):
                    pass
                link.sendall(bad + b"\n")
                wrong += not ask(link, query).startswith(error)
    for role in checks:
        with bench.connect(role) as link:
            assert ask(link, b"*IDN?")
    lived = bench.process.poll() is None
    print(
        f"malformed: {sent} messages in {time.perf_counter() - begun:.1f} s, server {'lives' if lived else 'DIED'}, "
        f"{wrong} wrong errors, exit code {bench.close()}"
    )


def kills(number: int = 500, seed: int = 1) -> None:
    """Clients that die at any byte of a message, some waiting for a trigger that never comes."""
    bench = Bench("--state", "none")
    rng, begun = random.Random(seed), time.perf_counter()
    whole = [
        b":TRIGger:SWEep NORMal;:TRIGger:EDGE:SOURce EXTernal\n:DIGitize\n*OPC?\n*IDN?\n",
        b"*IDN?\n" * 40, b":WAVeform:DATA?\n" * 3, b":CHANnel1:RANGe 2;RANGe?\n",
    ]  # fmt: skip
    longest = 0.0
    for _ in range(number):
        link, message = bench.connect("oscilloscope"), rng.choice(whole)
        link.sendall(message[: rng.randrange(1, len(message) + 1)])
        if rng.random() < 0.5:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.close()
        asked = time.perf_counter()
        with bench.connect("oscilloscope") as other:
            assert ask(other, b"*IDN?").startswith(b"KEYSIGHT")
        longest = max(longest, time.perf_counter() - asked)
    # And the gateway, with calls that break off or make no sense.
    for n in range(number):
        link = connect(bench.gateway)
        body = rng.randbytes(rng.randrange(200))
        if n % 2:
            body = struct.pack(">10I", n, 0, 2, 0x0607AF, 1, rng.randrange(30), 0, 0, 0, 0) + body
        record = struct.pack(">I", (1 << 31) | len(body)) + body
        link.sendall(record[: rng.randrange(1, len(record) + 1)])
        link.close()
    with bench.connect("analyzer") as link:
        assert ask(link, b"*IDN?")
    seconds = time.perf_counter() - begun
    print(
        f"kills: {number} clients at an instrument, {number} broken calls at the gateway in {seconds:.1f} s, "
        f"the next client answered within {1e3 * longest:.0f} ms, exit code {bench.close()}"
    )


def _spoil(rng: random.Random, line: bytes) -> bytes:
    spoilt = bytearray(line)
    for _ in range(rng.randint(1, 4)):
        kind, at = rng.randrange(5), rng.randrange(len(spoilt) + 1)
        if kind == 0:
            spoilt[at:at] = bytes([rng.randrange(256)])
        elif kind == 1 and spoilt:
            del spoilt[min(at, len(spoilt) - 1)]
        elif kind == 2 and spoilt:
            spoilt[min(at, len(spoilt) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 3:
            spoilt[at:at] = rng.choice(
                [b";", b"?", b",", b":", b"*", b"'", b'"', b"1e999", b"-", b" ", b"\x00", b"NAN"]
            )
        else:
            spoilt += spoilt[: rng.randrange(len(spoilt) + 1)]
    # A block's head would make the rest its content, rightly so; here each line is to be a message.
    return bytes(spoilt).replace(b"\n", b" ").replace(b"#", b"%")


def _drain(link: socket.socket) -> None:
    link.setblocking(False)
    try:
        while link.recv(1 << 16):
            pass
    except BlockingIOError:
        pass
    finally:
        link.setblocking(True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parts = {"throughput": throughput, "waveform": waveform, "clients": clients, "soak": soak, "malformed": malformed}
    parts["kills"] = kills
    parser.add_argument("part", nargs="?", default="all", choices=[*parts, "all"])
    chosen = parser.parse_args().part
    for name, part in parts.items():
        if chosen in (name, "all"):
            part()


if __name__ == "__main__":
    main()
