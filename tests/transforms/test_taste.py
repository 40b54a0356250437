"""What a user likes by brand and price, counted by hand, and nothing said where there is nothing to say."""

import numpy as np
import pandas as pd
import pytest

from jobs.tables import contracts
from jobs.transforms import rhythm, taste
from jobs.transforms.taste import HALF_LIFE, Offers

AS_OF = 1000
OFFERS = Offers(np.array([0, 1, 1, -1]), np.array([0.25, 0.75, 0.5, np.nan]))
EVERY = np.arange(4)


def made(bought: list[tuple[int, int, int]], offers: Offers = OFFERS) -> dict[str, np.ndarray]:
    """The features of all items of a user who bought (item, days ago, how many)."""
    item, age, n = (np.array([row[k] for row in bought], dtype=np.int64) for k in range(3))
    return taste.for_items(EVERY, rhythm.by_item(AS_OF - age, item, n, AS_OF), offers)


def test_every_feature_of_the_contract_is_made_as_float32() -> None:
    found = made([(0, 1, 1)])
    assert tuple(found) == contracts.TASTE_FEATURES
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_a_brands_share_is_of_what_has_a_brand_and_halves_each_half_life() -> None:
    share = made([(0, 2, 1), (1, 2 + HALF_LIFE, 1), (2, 2 + HALF_LIFE, 1), (3, 2, 50)])["brand_share"]
    assert share[:3] == pytest.approx([0.5, 0.5, 0.5])
    assert np.isnan(share[3]), "the item has no brand"


def test_a_price_gap_is_how_far_what_the_user_had_lies_above_the_item() -> None:
    gap = made([(0, 1, 3), (1, 1, 1), (3, 1, 9)])["price_gap"]
    assert gap[:3] == pytest.approx([0.375 - 0.25, 0.375 - 0.75, 0.375 - 0.5])
    assert np.isnan(gap[3])


def test_what_happens_from_the_as_of_day_on_changes_nothing() -> None:
    later = made([(0, 1, 1), (1, 0, 5), (2, -3, 5)])
    np.testing.assert_equal(later, made([(0, 1, 1)]))


@pytest.mark.parametrize("bought", [[], [(3, 1, 1)]])
def test_a_user_of_whom_nothing_is_known_has_nothing_but_the_items_prices(bought: list[tuple[int, int, int]]) -> None:
    found = made(bought)
    np.testing.assert_equal(found["item_price_position"], OFFERS.price_position.astype(np.float32))
    assert np.isnan(found["price_gap"]).all() and np.isnan(found["brand_share"]).all()


def test_without_a_column_of_brands_or_with_empty_ones_nobody_has_a_share() -> None:
    price = np.full(4, np.nan)
    assert Offers.of(None, price).brand.tolist() == [-1] * 4
    assert Offers.of(pd.Series(["b", None, " ", "a"]), price).brand.tolist() == [1, -1, -1, 0]
    assert np.isnan(made([(0, 1, 1)], Offers.of(None, price))["brand_share"]).all()
