"""What a user likes by brand and by price: contracts.TASTE_FEATURES of one user's items at an as-of day.

numpy only, one user at a time, as in ``rhythm``: retrieval makes them where the user's history already lies.
"""

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pyspark import cloudpickle

from jobs.tables import contracts

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

HALF_LIFE = 112  # days after which an outcome counts half

Past = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Offers:
    """Each item's brand as a number, -1 without one, and its price position (NaN without a price), shape (items,)."""

    brand: np.ndarray
    price_position: np.ndarray

    @classmethod
    def of(cls, brand: "pd.Series[str] | None", price_position: np.ndarray) -> "Offers":
        """The offers of items; ``brand`` is None where items have no such column."""
        if brand is None:
            return cls(np.full(len(price_position), -1), price_position)
        return cls(pd.factorize(brand.where(brand.astype(str).str.strip() != ""), sort=True)[0], price_position)


def for_items(found: np.ndarray, past: Past, offers: Offers) -> dict[str, np.ndarray]:
    """TASTE_FEATURES of the items ``found`` of one user, float32; ``past`` as ``rhythm.by_item`` returns it.

    ``brand_share`` is the share of the user's decayed outcomes that is of the item's brand, ``price_gap`` how far the
    decayed mean price position of what the user had lies above the item's. What there is nothing to say of is NaN.
    """
    age, item, n = past
    weight = n * 0.5 ** (age / HALF_LIFE)
    brand, position = offers.brand[item], offers.price_position[item]
    branded, priced = brand >= 0, ~np.isnan(position)
    of_brand = np.bincount(brand[branded], weight[branded], minlength=offers.brand.max(initial=-1) + 1)
    share = of_brand / (of_brand.sum() or np.nan)
    mine = offers.brand[found]
    affinity = (weight[priced] * position[priced]).sum() / (weight[priced].sum() or np.nan)
    out = {
        "item_price_position": offers.price_position[found],
        "price_gap": affinity - offers.price_position[found],
        "brand_share": np.where(mine >= 0, share[mine], np.nan) if len(share) else np.full(len(found), np.nan),
    }
    return {name: out[name].astype(np.float32) for name in contracts.TASTE_FEATURES}
