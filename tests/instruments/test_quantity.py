"""Unit strings: what is read, what is refused, and that the two directions agree."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.errors import ConfigError
from instruments.quantity import si, to_si


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("20 uS", "S", 20e-6),
        ("20uS", "S", 20e-6),
        (" 0.2  V ", "V", 0.2),
        ("-.5 V", "V", -0.5),
        ("+5. mV", "V", 5e-3),
        ("1e-3 A", "A", 1e-3),
        ("1.0416667 ms", "s", 1.0416667e-3),
        ("125 uS/V", "S/V", 125e-6),
        ("2.5 kΩ", "ohm", 2500.0),
        ("1 Mohm", "ohm", 1e6),
        ("30 µV", "V", 30e-6),
        ("30 μV", "V", 30e-6),
        ("50 Hz", "Hz", 50.0),
        ("240 pJ", "J", 240e-12),
        ("3 %", "dimensionless", 0.03),
        ("0.5", "V", 0.5),
        (0.5, "V", 0.5),
        (7, "s", 7.0),
    ],
)
def test_what_people_write(text: object, unit: str, value: float) -> None:
    assert to_si(text, unit) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "V", "much", "0.2 S", "20 uS", "1,5 V", "1.5.2 V", "0x10 V", "1_0 V", "5 V + 3 V", "9**9**9 V", "1 V 2",
        "2020-01-01", "5 dB", "50 %", "1 V/V", "- V", "٣ V", "nan V", "inf V", "-inf", "nan", "1e999 V",
        math.nan, math.inf, 10**400, None, True, [1], {"volts": 1}, b"1 V",
    ],
)  # fmt: skip
def test_what_is_no_voltage_gets_one_sentence(text: object) -> None:
    with pytest.raises(ConfigError) as caught:
        to_si(text, "V", what="read.volts")
    assert str(caught.value).startswith("read.volts: ")
    assert "1 V" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_true_is_no_number_even_after_one() -> None:
    assert to_si(1, "V") == 1.0
    with pytest.raises(ConfigError):
        to_si(True, "V")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (24e-6, "S", "24 uS"),
        (0.2, "V", "200 mV"),
        (-1.25, "V", "-1.25 V"),
        (0.0, "A", "0 A"),
        (999.9, "ohm", "1 kohm"),
        (0.99994, "s", "1 s"),
        (2.4e-10, "J", "240 pJ"),
        (3e-15, "A", "3e-15 A"),
        (5e12, "Hz", "5e+03 GHz"),
        (math.inf, "V", "inf V"),
        (math.nan, "V", "nan V"),
    ],
)
def test_what_people_read(value: float, unit: str, text: str) -> None:
    assert si(value, unit) == text


def test_digits_are_asked_for() -> None:
    assert si(1.23456e-6, "S", digits=5) == "1.2346 uS"


@given(st.floats(1e-14, 1e12) | st.floats(-1e12, -1e-14))
def test_what_is_printed_reads_back(value: float) -> None:
    assert to_si(si(value, "V", digits=6), "V") == pytest.approx(value, rel=1e-5)


@given(st.text(max_size=20), st.sampled_from(["V", "S", "s", "A", "ohm"]))
def test_no_text_raises_anything_else(text: str, unit: str) -> None:
    try:
        value = to_si(text, unit)
    except ConfigError:
        return
    assert math.isfinite(value)
