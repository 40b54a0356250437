"""The lexicon tells praise from blame and negation from both, and says where it knows no word."""

import numpy as np
import pandas as pd
import pytest

from jobs.models import sentiment


def valence(*texts: str | None) -> list[float]:
    return list(sentiment.valence(pd.Series(texts, dtype=object)))


def test_praise_is_positive_and_blame_negative() -> None:
    praise, blame = valence("I love this bread, it is great!", "Horrible. The worst milk I ever had.")
    assert 1 >= praise >= sentiment.POSITIVE > 0 > -sentiment.POSITIVE >= blame >= -1


@pytest.mark.parametrize(("plain", "stronger"), [("good", "very good"), ("good", "GOOD!!!"), ("not good", "good")])
def test_degree_emphasis_and_negation_count(plain: str, stronger: str) -> None:
    weak, strong = valence(f"It is {plain}", f"It is {stronger}")
    assert weak < strong


def test_what_nobody_can_read_is_not_neutral() -> None:
    unknown = valence(None, "", "Das Brot liegt im Regal", "12345")
    assert np.isnan(unknown).all()


def test_a_series_keeps_its_index_and_may_be_all_null() -> None:
    texts = pd.Series(["good", None], index=[7, 3], dtype=object)
    assert list(sentiment.valence(texts).index) == [7, 3]
    assert sentiment.valence(pd.Series([None, None], dtype=object)).isna().all()
