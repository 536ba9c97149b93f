"""What the simulated instruments take for a message: any spelling that the language allows, no number out of range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin.fakes_b1500a import FakeBench as AnalyzerBench
from twin.fakes_b1500a import make_panel
from twin.fakes_scope import FakeBench as ScopeBench
from twin.message_fuzz import LEARNT, fuzz_flex, fuzz_scope

from instruments.twin.panels import infiniivision_table, tektronix_table
from instruments.twin.panels.b1500a import B1500APanel
from instruments.twin.panels.infiniivision import InfiniiVisionPanel
from instruments.twin.panels.tektronix_mso import TektronixPanel

PANELS = {"infiniivision": InfiniiVisionPanel, "tektronix": TektronixPanel}
TABLES = {
    "infiniivision": [getattr(infiniivision_table, n) for n in ("ACQUISITION", "INPUTS", "TRIGGER", "SCREEN", "MATHS")],
    "tektronix": [getattr(tektronix_table, n) for n in ("ACQUISITION", "INPUTS", "TRIGGER", "SCREEN")],
}


def scope(name: str):
    panel = PANELS[name](ScopeBench(), {})
    panel.handle(b":HEADer 0" if name == "tektronix" else b"*CLS")
    panel.handle(b"*CLS")
    return panel


def ask(panel, text: str) -> str:
    (reply,) = panel.handle(text.encode())
    return reply.decode()


def errors(panel) -> list[int]:
    """All codes in the queue, as SCPI counts them."""
    found = []
    if isinstance(panel, InfiniiVisionPanel):
        while code := int(ask(panel, ":SYSTem:ERRor?").split(",")[0]):
            found.append(code)
        return found
    panel.handle(b"*ESR?")
    while code := int(ask(panel, "EVMsg?").split(",")[0]):
        found.append(-code)
    return found


def numbers(name: str) -> list[tuple[str, float, float, bool]]:
    """Header with numbers filled in, limits, whether it is an integer: every numeric line of the tables."""
    found = []
    for line in filter(str.strip, "\n".join(TABLES[name]).splitlines()):
        header, _, kind, *rest = line.split()
        if kind in ("real", "int"):
            plain = header.replace("<n>", "2").replace("[:EDGE]", "").replace("[:MODe]", "")
            found.append((plain, float(rest[0]), float(rest[1]), kind == "int"))
    return found


SETTINGS = [(name, *entry) for name in TABLES for entry in numbers(name)]
SCOPES = {name: scope(name) for name in PANELS}


# SCPI


@given(st.sampled_from(sorted(PANELS)), st.data())
@settings(max_examples=50, deadline=None)
def test_every_spelling_of_a_header_is_the_same_setting(name: str, data: st.DataObject) -> None:
    panel = SCOPES[name]
    plain = sorted({header for maker, header, *_ in SETTINGS if maker == name})
    header = data.draw(st.sampled_from(plain))
    spelled = []
    for mnemonic in header.split(":"):
        short = "".join(c for c in mnemonic if not c.islower())
        # Tektronix takes every length in between; a number belongs to the end of either form.
        stem, digits = mnemonic.rstrip("0123456789"), mnemonic[len(mnemonic.rstrip("0123456789")) :]
        least = len("".join(c for c in stem if not c.islower()))
        lengths = range(least, len(stem) + 1) if name == "tektronix" else (least, len(stem))
        form = stem[: data.draw(st.sampled_from(sorted(set(lengths))))] + digits
        assert len(form) >= len(short)
        spelled.append("".join(c.upper() if data.draw(st.booleans()) else c.lower() for c in form))
    colon = data.draw(st.sampled_from(["", ":"]))
    assert ask(panel, f"{colon}{':'.join(spelled)}?") == ask(panel, f":{header}?")
    assert errors(panel) == []


@given(st.sampled_from(SETTINGS), st.data())
@settings(max_examples=50, deadline=None)
def test_numbers_within_a_range_are_kept_and_others_refused(
    setting: tuple[str, str, float, float, bool], data: st.DataObject
) -> None:
    name, header, low, high, whole = setting
    panel = SCOPES[name]
    if low < high:
        inside = data.draw(st.integers(int(low), int(high)) if whole else st.floats(low, high))
        panel.handle(f":{header} {inside!r}".encode())
        shown = ask(panel, f":{header}?")
        if shown[-1].isdigit():
            assert float(shown) == pytest.approx(inside, rel=1e-4, abs=1e-300)
    before = ask(panel, f":{header}?")
    far = data.draw(st.floats(1e-6, 1e6))
    outside = data.draw(st.sampled_from([high + far * max(abs(high), 1e-9), low - far * max(abs(low), 1e-9)]))
    if low - 1e-8 * abs(low) <= outside <= high + 1e-8 * abs(high):
        outside = high + 1
    panel.handle(f":{header} {outside:.12e}".encode())
    assert errors(panel) == [-222]
    assert ask(panel, f":{header}?") == before


@pytest.mark.parametrize("name", sorted(PANELS))
def test_malformed_messages_are_answered_by_errors_and_change_nothing(name: str) -> None:
    tally = fuzz_scope(np.random.default_rng(3), scope(name), 1000)
    assert min(tally.kinds.get(kind, 0) for kind in ("unknown", "junk", "missing", "many", "noise")) > 30


# FLEX

RANGES = [
    ("DV 1,0,{},1E-3", -100, 100, False, 120), ("DI 1,0,{},2", -0.1, 0.1, False, 120),
    ("WT {},0", 0, 655.35, False, 120), ("WT 0,{}", 0, 65.535, False, 120), ("PT 0,{}", 50e-6, 2, False, 120),
    ("MT 0,{},10", 1e-4, 65.535, False, 120), ("MT 0,0.01,{}", 1, 100001, True, 120),
    ("AIT 0,1,{}", 1, 1023, True, 120), ("AIT 1,2,{}", 1, 100, True, 120), ("SPPER {}", 2e-8, 10, False, 120),
    ("SER 601,{}", 0.1, 1e6, False, 120), ("SPV 601,1,{}", -40, 40, False, 120),
    ("SPT 601,1,{},1E-7,2E-8", 0, 10, False, 120), ("SPRM 1,{}", 1, 1_000_000, True, 120),
    ("SPRM 2,{}", 1e-6, 31_556_926, False, 120), ("TM {}", 1, 4, True, 120), ("*SRE {}", 0, 255, True, 120),
    ("WAT 1,{}", 0, 10, False, 120), ("WAT 2,1,{}", 0, 1, False, 120), ("RM 1,2,{}", 11, 100, True, 120),
    ("ERM {}", 0, 65535, True, 120), ("DV 1,0,1,{}", 1e-12, 0.1, False, 123), ("DI 1,0,0,{}", 1e-6, 100, False, 123),
    ("MV 1,0,0,{},1E-3", -100, 100, False, 120), ("WV 1,1,0,0,{},11,1E-3", -100, 100, False, 120),
    ("WV 1,1,0,0,1,{},1E-3", 1, 10001, True, 120), ("PV 1,0,0,{},1E-3", -100, 100, False, 120),
]  # fmt: skip
"""Message, limits (Programming Guide, for a B1517A and a B1525A), whether it is an integer, code beyond them."""


@given(st.sampled_from(RANGES), st.data())
@settings(max_examples=60, deadline=None)
def test_flex_numbers_within_a_range_are_taken_and_others_refused(
    rule: tuple[str, float, float, bool, int], data: st.DataObject
) -> None:
    template, low, high, whole, code = rule
    _, panel = make_panel()
    panel.handle(b"CN 1")
    drawn = data.draw(st.integers(int(low), int(high)) if whole else st.floats(low, high))
    panel.handle(template.format(drawn if whole else f"{drawn:.9E}").encode())
    assert panel.handle(b"ERRX? 1") == [b"+0"]
    before = [panel.handle(f"*LRN? {kind}".encode()) for kind in LEARNT]
    far = data.draw(st.floats(1e-6, 1e6))
    above, below = high + far * abs(high), low - far * max(abs(low), 1e-9)
    # A compliance counts without its sign: below its range there is the same range again.
    outside = above if code == 123 else data.draw(st.sampled_from([above, below]))
    panel.handle(template.format(f"{outside:.9E}").encode())
    assert panel.handle(b"ERRX? 1") == [f"+{code}".encode()]
    assert [panel.handle(f"*LRN? {kind}".encode()) for kind in LEARNT] == before


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_flex_takes_any_case_and_any_blanks(data: st.DataObject) -> None:
    _, panel = make_panel()
    messages = ["CN 1", "DV 1,0,0.2,1E-3", "AAD 1,1", "MT 0,0.01,20", "FL 1,1", "WV 1,3,0,0,1,11,1E-3"]
    for message in messages:
        name, _, rest = message.partition(" ")
        spelled = "".join(c.lower() if data.draw(st.booleans()) else c for c in name)
        blank = data.draw(st.sampled_from(["", " ", "  "]))
        comma = data.draw(st.sampled_from([",", ", ", " ,", " "]))
        panel.handle(f"{spelled}{blank}{comma.join(rest.split(','))}".encode())
    assert panel.handle(b"ERRX? 1") == [b"+0"]
    _, same = make_panel()
    same.handle(";".join(messages).encode())
    assert [panel.handle(f"*LRN? {k}".encode()) for k in LEARNT] == [same.handle(f"*LRN? {k}".encode()) for k in LEARNT]


def test_malformed_flex_is_answered_by_errors_and_changes_nothing() -> None:
    tally = fuzz_flex(np.random.default_rng(3), lambda: B1500APanel(AnalyzerBench(), {}), 1000)
    assert min(tally.kinds[kind] for kind in ("unknown", "count", "junk", "noise")) > 130
    assert tally.codes[100] == tally.kinds["unknown"]
    assert tally.codes[103] == tally.kinds["count"]
