"""What the simulated oscilloscopes measure, on waveforms whose answers are known, and their screen images."""

import io

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.twin.scope_measurements import MEASUREMENTS, Waveform, delay, phase
from instruments.twin.scope_picture import HEIGHT, WIDTH, bmp, draw, png

POINTS = 5000


def trapezes(period=1e-3, high=0.4e-3, edge=50e-6, low=-0.5, top=1.5, cycles=4.3, start=0.1e-3) -> Waveform:
    """Pulses of straight edges; `high` between their middles."""
    times = np.linspace(0, cycles * period, POINTS)
    at = (times - start) % period
    corners = [0, edge, high, high + edge, period]
    volts = np.interp(at, corners, [low, top, top, low, low])
    volts[times < start] = low
    return Waveform(volts, float(times[1]), -0.2e-3)


def measured(wave: Waveform, name: str) -> float:
    value = MEASUREMENTS[name](wave)
    assert value is not None
    return value


@given(
    st.floats(1e-6, 1.0), st.floats(0.2, 0.7), st.floats(0.02, 0.1), st.floats(-5, 5), st.floats(0.1, 10),
    st.floats(2.5, 6),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_pulses_of_known_shape(period, duty, edge, low, height, cycles) -> None:
    wave = trapezes(period, duty * period, edge * period, low, low + height, cycles, 0.1 * period)
    sample = cycles / POINTS  # in periods
    assert measured(wave, "period") == pytest.approx(period, rel=2 * sample)
    assert measured(wave, "frequency") == pytest.approx(1 / period, rel=2 * sample)
    assert measured(wave, "duty") == pytest.approx(100 * duty, abs=300 * sample)
    assert measured(wave, "positive width") + measured(wave, "negative width") == pytest.approx(period, rel=4 * sample)
    assert measured(wave, "rise") == pytest.approx(0.8 * edge * period, abs=2 * sample * period)
    assert measured(wave, "fall") == pytest.approx(0.8 * edge * period, abs=2 * sample * period)
    assert measured(wave, "rise slew") == pytest.approx(height / (edge * period), rel=0.2)
    assert measured(wave, "top") == pytest.approx(low + height, abs=height / 60)
    assert measured(wave, "base") == pytest.approx(low, abs=height / 60)
    assert measured(wave, "peak to peak") == pytest.approx(height, rel=0.01)
    assert measured(wave, "cycle mean") == pytest.approx(low + duty * height, abs=0.01 * height)


def test_a_sine_and_its_delayed_copy() -> None:
    times = np.arange(POINTS) * 1e-6
    one = Waveform(2 * np.sin(2 * np.pi * 1000 * times), 1e-6, 0.0)
    other = Waveform(0.5 * np.sin(2 * np.pi * 1000 * (times - 125e-6)), 1e-6, 0.0)
    assert measured(one, "rms") == pytest.approx(2**0.5, rel=1e-3)
    assert measured(one, "ac rms") == pytest.approx(2**0.5, rel=1e-3)
    assert measured(one, "mean") == pytest.approx(0, abs=1e-3)
    assert measured(one, "time of max") == pytest.approx(250e-6, abs=2e-6)
    assert measured(one, "area") == pytest.approx(0, abs=1e-6)
    assert delay(one, other) == pytest.approx(
        125e-6 - 1000e-6, abs=2e-6
    )  # the first rise of `one` in view is its second
    assert phase(other, one) == pytest.approx(-45 + 360, abs=1)
    assert measured(one, "rising edges") + measured(one, "falling edges") == 9


def test_what_is_not_there_cannot_be_measured() -> None:
    flat = Waveform(np.full(100, 0.3), 1e-3, 0.0)
    absent = (
        "period",
        "frequency",
        "rise",
        "fall",
        "duty",
        "positive width",
        "overshoot",
        "bit rate",
        "burst",
        "cycle rms",
    )
    assert {name: MEASUREMENTS[name](flat) for name in absent} == dict.fromkeys(absent)
    assert measured(flat, "mean") == pytest.approx(0.3)
    assert delay(flat, flat) is None


def test_overshoot_in_per_cent_of_the_step() -> None:
    volts = np.concatenate([np.zeros(100), [1.2, 1.1], np.ones(100)])
    assert measured(Waveform(volts, 1e-6, 0.0), "overshoot") == pytest.approx(20, abs=2)


def test_images_show_the_trace_where_it_is() -> None:
    screen = draw({1: np.full(1000, 0.25)}, (10, 8))
    image = matplotlib.image.imread(io.BytesIO(png(screen)), format="png")
    assert image.shape == (HEIGHT, WIDTH, 3)
    yellow = np.all(np.abs(image - np.array([1.0, 230 / 255, 0.0])) < 0.01, axis=2)
    rows = np.flatnonzero(yellow.any(axis=1))
    assert rows == pytest.approx([0.75 * (HEIGHT - 1)], abs=1)
    assert yellow.any(axis=0).all()
    inverted = draw({1: np.full(1000, 0.25)}, (10, 8), inverted=True)
    assert np.array_equal(inverted, 255 - screen)
    whole = bmp(screen)
    assert whole[:2] == b"BM"
    assert int.from_bytes(whole[2:6], "little") == len(whole)
    pixels = np.frombuffer(whole[54:], np.uint8).reshape(HEIGHT, WIDTH, 3)
    assert np.array_equal(pixels[::-1, :, ::-1], screen)
