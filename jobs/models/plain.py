"""What people know of a trial, in their words: what the surrogate tree may ask."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.models.sample import Sample

CATEGORIES = 20  # with most trials
IS = "category is "  # a question: 0 yes, 1 no, for a tree goes left where a value is small
WORDS = {
    "user_days_since_last": "days since the user came",
    "user_tenure_days": "days since the user first came",
    "user_active_days_28d": "user's active days in 28 days",
    "user_active_days_91d": "user's active days in 91 days",
    "user_outcomes_28d": "user's outcomes in 28 days",
    "user_outcomes_91d": "user's outcomes in 91 days",
    "user_value_28d": "user's spending in 28 days",
    "user_value_91d": "user's spending in 91 days",
    "user_items_91d": "user's different items in 91 days",
    "outcomes_28d": "user's outcomes on the item in 28 days",
    "outcomes_91d": "user's outcomes on the item in 91 days",
    "outcomes_364d": "user's outcomes on the item in a year",
    "days_since_last": "days since the user's last outcome on the item",
    "mean_gap_days": "days between the user's outcomes on the item",
    "category_outcomes_91d": "user's outcomes in the category in 91 days",
    "category_share_91d": "category's share in the user's outcomes",
    "item_outcomes_7d": "item's outcomes in 7 days",
    "item_outcomes_28d": "item's outcomes in 28 days",
    "item_outcomes_91d": "item's outcomes in 91 days",
    "item_buyers_28d": "item's users in 28 days",
    "item_buyers_91d": "item's users in 91 days",
    "item_days_since_last": "days since anybody's outcome on the item",
    "item_price": "price",
    "shown_7d": "days the item was shown to the user in 7 days",
    "shown_28d": "days the item was shown to the user in 28 days",
    "days_since_shown": "days since the item was shown to the user",
    "item_shown_users_7d": "share of users shown the item in 7 days",
    "item_shown_users_28d": "share of users shown the item in 28 days",
}
OWN = (
    "earlier periods the item was shown to the user",
    "earlier periods it was not",
    "user's outcome rate when it was shown",
    "user's outcome rate when it was not",
)


def columns(sample: Sample, adjusted: Sequence[str]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """What is known of each trial, shape (n, columns), NaN where nothing is, and its words.

    Of the features ``adjusted`` those in ``WORDS``; the pair's own earlier periods; ``CATEGORIES`` with most trials.
    """
    kept = [place for place, name in enumerate(adjusted) if name in WORDS]
    shown, bought, hidden, alone = sample.counts.T.astype(np.float32)
    rates = [
        np.divide(y, n, out=np.full(len(n), np.nan, np.float32), where=n > 0)
        for y, n in ((bought, shown), (alone, hidden))
    ]
    most = sorted(pd.Series(sample.category).value_counts(sort=True).head(CATEGORIES).index)
    other = [(sample.category != name).astype(np.float32) for name in most]
    matrix = np.column_stack([sample.trials.matrix[:, kept], shown, hidden, *rates, *other])
    words = (*(WORDS[adjusted[place]] for place in kept), *OWN, *(f"{IS}{name}" for name in most))
    return matrix.astype(np.float32), words
