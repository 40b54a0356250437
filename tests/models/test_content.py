"""Items that say the same are near each other, and those that say nothing are near nobody."""

import numpy as np
import pandas as pd

from jobs.models import content


def items() -> pd.DataFrame:
    """Ten dairy products, ten tools, one with nothing but a word of its own and one with nothing at all."""
    titles = (
        [f"fresh milk milk{n}" for n in range(10)] + [f"steel hammer hammer{n}" for n in range(10)] + ["singular", None]
    )
    return pd.DataFrame(
        {
            "item_id": [f"i{n:02d}" for n in range(22)],
            "title": titles,
            "category": ["dairy"] * 10 + ["tools"] * 10 + [None, None],
            "price": np.arange(22.0),
        }
    )


def test_near_in_words_is_near_in_vectors() -> None:
    found = content.vectors(items(), 8, 0)
    alike = found @ found.T
    assert alike[:10, :10].min() > 0.9 and alike[10:20, 10:20].min() > 0.9
    assert np.abs(alike[:10, 10:20]).max() < 0.1
    assert np.allclose(np.linalg.norm(found[:20], axis=1), 1.0, atol=1e-3)


def test_an_item_that_shares_no_word_has_no_vector() -> None:
    assert (content.vectors(items(), 8, 0)[20:] == 0).all()


def test_attributes_count_and_ids_prices_and_days_do_not() -> None:
    said = content.words(items().assign(brand="store", available_from="2024-01-01"))
    assert said[0] == ["fresh", "milk", "milk0", "category=dairy", "brand=store"]
    assert said[21] == ["brand=store"]


def test_the_same_items_give_the_same_vectors() -> None:
    assert (content.vectors(items(), 8, 0) == content.vectors(items(), 8, 0)).all()


def test_items_without_words_have_vectors_of_nothing() -> None:
    nothing = pd.DataFrame({"item_id": ["a", "b"], "title": [None, None], "category": [None, None]})
    assert (content.vectors(nothing, 8, 0) == 0).all()
