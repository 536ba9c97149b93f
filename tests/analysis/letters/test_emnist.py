"""EMNIST as it is distributed: read right, or refused with a reason."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import AnalysisError
from analysis.letters.data import preprocess, signed
from analysis.letters.emnist import MAX_COUNT, SPLITS, EmnistError, load_emnist

IMAGES, LABELS = "emnist-{}-{}-images-idx3-ubyte", "emnist-{}-{}-labels-idx1-ubyte"


def write(
    folder: Path, split: str, labels: list[int], *, packed: bool = True, part: str = "train", seed: int = 0
) -> np.ndarray:
    """Write a small EMNIST; return its images upright."""
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 28, 28)).astype(np.uint8)
    stored = images.transpose(0, 2, 1).tobytes()
    put(folder, IMAGES.format(split, part), struct.pack(">4I", 0x803, len(labels), 28, 28) + stored, packed)
    put(folder, LABELS.format(split, part), struct.pack(">2I", 0x801, len(labels)) + bytes(labels), packed)
    return images


def put(folder: Path, name: str, content: bytes, packed: bool) -> None:
    if packed:
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    else:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("split", list(SPLITS))
def test_each_split_has_its_own_codes(tmp_path: Path, split: str, packed: bool) -> None:
    h, k, u = SPLITS[split].codes
    images = write(tmp_path, split, [u, SPLITS[split].low, h, k, h, SPLITS[split].high], packed=packed)
    found = load_emnist(tmp_path)
    assert found.labels.tolist() == [2, 0, 1, 0]
    assert found.counts == {"H": 2, "K": 1, "U": 1}
    assert split in found.source
    np.testing.assert_allclose(found.images, preprocess(images[[0, 2, 3, 4]]))


def test_the_test_part_is_another_file(tmp_path: Path) -> None:
    write(tmp_path, "byclass", [17, 20, 30], part="test")
    assert load_emnist(tmp_path, part="test").source.startswith("EMNIST byclass test")
    with pytest.raises(EmnistError, match="no EMNIST files"):
        load_emnist(tmp_path)
    with pytest.raises(EmnistError, match="train, test"):
        load_emnist(tmp_path, part="validation")


def test_several_splits_want_a_name(tmp_path: Path) -> None:
    write(tmp_path, "byclass", [17, 20, 30])
    write(tmp_path, "letters", [8, 11, 21, 21])
    with pytest.raises(EmnistError, match="byclass, letters"):
        load_emnist(tmp_path)
    assert len(load_emnist(tmp_path, "letters")) == 4
    with pytest.raises(EmnistError, match="digits"):
        load_emnist(tmp_path, "digits")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "letters", [8, 11, 21])
    (tmp_path / (LABELS.format("letters", "train") + ".gz")).unlink()
    with pytest.raises(EmnistError, match=r"labels-idx1-ubyte is missing"):
        load_emnist(tmp_path)
    with pytest.raises(EmnistError, match="no EMNIST files"):
        load_emnist(tmp_path / "nowhere")


def _broken(name: str) -> tuple[str, bytes, str]:
    good = struct.pack(">4I", 0x803, 3, 28, 28) + bytes(3 * 784)
    labels = struct.pack(">2I", 0x801, 3) + bytes([8, 11, 21])
    return {
        "magic": (IMAGES, struct.pack(">4I", 0x802, 3, 28, 28) + bytes(3 * 784), "magic number 0x00000802"),
        "short": (IMAGES, good[:-1], "cut short"),
        "long": (IMAGES, good + b"x", "longer than"),
        "header": (IMAGES, good[:10], "header"),
        "size": (IMAGES, struct.pack(">4I", 0x803, 3, 32, 28) + bytes(3 * 896), "32 x 28"),
        "count": (IMAGES, struct.pack(">4I", 0x803, 4, 28, 28) + bytes(4 * 784), "4 images but .* 3 labels"),
        "empty": (IMAGES, b"", "header"),
        "huge": (IMAGES, struct.pack(">4I", 0x803, MAX_COUNT + 1, 28, 28), "1000001 items"),
        "label": (LABELS, labels[:-1] + bytes([27]), "labels 8 to 27"),
        "zero": (LABELS, labels[:-1] + bytes([0]), "labels 0 to 11"),
        "no U": (LABELS, labels[:-1] + bytes([8]), "holds no U"),
        "labels long": (LABELS, labels + b"x", "longer than"),
    }[name]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "name",
    ["magic", "short", "long", "header", "size", "count", "empty", "huge", "label", "zero", "no U", "labels long"],
)
def test_a_broken_file_is_refused(tmp_path: Path, name: str, packed: bool) -> None:
    write(tmp_path, "letters", [8, 11, 21], packed=packed)
    which, content, message = _broken(name)
    put(tmp_path, which.format("letters", "train"), content, packed)
    with pytest.raises(EmnistError, match=message):
        load_emnist(tmp_path)


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 400), bit=st.integers(0, 7), cut=st.integers(0, 400))
def test_damage_to_a_gzip_file_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    write(folder, "letters", [8, 11, 21])
    path = folder / (IMAGES.format("letters", "train") + ".gz")
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] ^= 1 << bit
    path.write_bytes(bytes(raw[: len(raw) - cut % 3]))
    try:
        count, message = len(load_emnist(folder)), str(path)
    except AnalysisError as error:
        count, message = 3, str(error)
    assert count == 3
    assert str(path) in message


def test_real_letters_are_upright_and_complete(real_folder: Path) -> None:
    letters = load_emnist(real_folder)
    assert letters.counts == {"H": 363, "K": 816, "U": 418}
    # A U is open at the top and closed at the bottom: transposed images would show no difference.
    bowl = letters.of(2).mean(axis=0)
    assert bowl[9:11, 4:8].mean() > 2.0 * bowl[1:3, 4:8].mean()


def test_preprocessing_halves_and_crops() -> None:
    image = np.zeros((1, 28, 28))
    image[0, 2:4, 2:4] = 255.0
    image[0, :2] = 255.0
    small = preprocess(image)
    assert small.shape == (1, 12, 12)
    assert small[0, 0, 0] == 1.0
    assert small.sum() == 1.0
    np.testing.assert_array_equal(signed(small).min(), -1.0)
    with pytest.raises(AnalysisError, match=r"\(n, 28, 28\)"):
        preprocess(np.zeros((28, 28)))
