"""What people know of a trial: features and counts in words, as they are."""

import numpy as np

from jobs.models import plain
from jobs.tables.contracts import FEATURES
from tests.models.nights import ADJUSTED, night


def test_words_are_of_features_and_none_is_said_twice():
    assert set(plain.WORDS) < set(FEATURES)
    said = [*plain.WORDS.values(), *plain.OWN]
    assert len(set(said)) == len(said) and not any("_" in words for words in said)


def test_columns_are_the_features_that_have_words_the_pairs_own_periods_and_the_categories():
    trials = night().sample()
    matrix, words = plain.columns(trials, ("gap_ratio", *ADJUSTED[1:]))
    assert matrix.shape == (len(trials.item), len(words)) and "gap_ratio" not in plain.WORDS
    assert words[:3] == ("item's outcomes in 28 days", "price", "user's outcomes on the item in 28 days")
    by_word = dict(zip(words, matrix.T, strict=True))
    assert np.array_equal(by_word["earlier periods the item was shown to the user"], trials.counts[:, 0])
    rate, counts = by_word["user's outcome rate when it was shown"], trials.counts
    assert np.array_equal(np.isnan(rate), counts[:, 0] == 0)
    some = counts[:, 0] > 0
    assert np.allclose(rate[some], counts[some, 1] / counts[some, 0])
    assert np.array_equal(by_word["category is c2"] == 0, trials.category == "c2")
