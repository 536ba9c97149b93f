"""Drawn letters: seeded, varied, and like real ones to a reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.letters.classifier import Classifier, ClassifierRecipe, train_classifier, train_classifier_cached
from analysis.letters.data import CLASSES, LetterSet, class_index
from analysis.letters.emnist import load_emnist
from analysis.letters.generator import synthetic_letters
from analysis.letters.judge import mean_distance

SHORT = ClassifierRecipe(iterations=200)


def test_equal_generators_draw_equal_letters() -> None:
    one, two = (synthetic_letters(20, np.random.default_rng(3), "seed 3") for _ in range(2))
    np.testing.assert_array_equal(one.images, two.images)
    assert one.digest == two.digest != synthetic_letters(20, np.random.default_rng(4)).digest
    assert one.source == "synthetic strokes, 20 a class, seed 3"
    assert one.counts == {"H": 20, "K": 20, "U": 20}


def test_letters_are_ink_on_dark_paper_and_no_two_alike(drawn: LetterSet) -> None:
    assert drawn.images[:, 0, 0].mean() < 0.1
    for k in range(len(CLASSES)):
        own = drawn.of(k)
        assert 0.15 < own.mean() < 0.32
        assert own.max(axis=(1, 2)).min() > 0.4
        assert 0.3 < mean_distance(own, np.random.default_rng(0)) < 0.45
        assert len(np.unique(own.reshape(len(own), -1), axis=0)) == len(own)


def test_a_reader_of_real_letters_reads_drawn_ones_and_the_other_way_round(real_folder: Path) -> None:
    # The full recipes reach .989 and .979 (3,000 drawn letters a class); here both are cut to a third.
    real, drawn = load_emnist(real_folder), synthetic_letters(900, np.random.default_rng(5))
    reader = train_classifier(real, 0, SHORT)
    assert reader.accuracy(drawn.images, drawn.labels) >= 0.94
    reader = train_classifier(drawn, 0, SHORT)
    assert reader.accuracy(real.images, real.labels) >= 0.95


def test_a_reader_survives_its_file_and_a_damaged_file_is_made_again(tmp_path: Path, drawn: LetterSet) -> None:
    recipe = ClassifierRecipe(iterations=30)
    reader, known = train_classifier_cached(tmp_path, drawn, 0, recipe)
    assert not known
    again, known = train_classifier_cached(tmp_path, drawn, 0, recipe)
    assert known
    np.testing.assert_allclose(again.probabilities(drawn.images[:9]), reader.probabilities(drawn.images[:9]))
    assert again.trained_on == drawn.source
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(AnalysisError, match="delete it"):
        Classifier.load(path)
    assert not train_classifier_cached(tmp_path, drawn, 0, recipe)[1]
    assert not train_classifier_cached(tmp_path, drawn, 1, recipe)[1]


def test_letter_sets_refuse_what_is_no_letter(drawn: LetterSet) -> None:
    with pytest.raises(AnalysisError, match="need"):
        LetterSet(drawn.images[:3], drawn.labels[:2], "test")
    with pytest.raises(AnalysisError, match=r"\[0, 1\]"):
        LetterSet(drawn.images[:3] + 1.0, drawn.labels[:3], "test")
    with pytest.raises(AnalysisError, match=r"0\.\.2"):
        LetterSet(drawn.images[:3], drawn.labels[:3] + 3, "test")
    assert class_index("K") == 1
    with pytest.raises(AnalysisError, match="H, K, U"):
        class_index("k")


def test_a_split_keeps_shares_and_loses_nothing(drawn: LetterSet) -> None:
    first, second = drawn.split(0.75, np.random.default_rng(0))
    assert first.counts == {"H": 450, "K": 450, "U": 450}
    assert len(first) + len(second) == len(drawn)
    assert drawn.images.sum() == pytest.approx(first.images.sum() + second.images.sum())
