"""What items say about themselves, as vectors: TF-IDF of words and attributes, reduced by a truncated SVD."""

import json
import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

TEXTS = ("title", "description")
NOT_SAID = (*TEXTS, "item_id", "available_from", "available_until")
SHARED = 2  # items a word or attribute must be said of, or it relates nothing
WORD = re.compile(r"\w+")


def of_table(stored: pd.DataFrame) -> pd.DataFrame:
    """The rows of ITEM_VECTORS as vectors by item_id, shape (items, dimensions)."""
    return pd.DataFrame([json.loads(each) for each in stored["vector"]], index=stored["item_id"], dtype=np.float32)


def words(items: pd.DataFrame) -> list[list[str]]:
    """What is said of each item: the words of its texts, and ``column=value`` for each attribute that is text."""
    said: list[list[str]] = [[] for _ in range(len(items))]
    for name in items.columns:
        if name in TEXTS:
            for mine, text in zip(said, items[name].fillna("").astype(str), strict=True):
                mine.extend(WORD.findall(text.lower()))
        elif name not in NOT_SAID and (items[name].dtype == object or isinstance(items[name].dtype, pd.StringDtype)):
            for mine, value in zip(said, items[name], strict=True):
                if isinstance(value, str) and value:
                    mine.append(f"{name}={value}")
    return said


def vectors(items: pd.DataFrame, dimensions: int, seed: int) -> NDArray[np.float32]:
    """Vectors of length 1, or 0 where an item says nothing that another says: shape (items, at most dimensions).

    Rounded to 5 decimals, so that the order of sums shows nowhere.
    """
    said = words(items)
    times = pd.Series([word for mine in said for word in set(mine)], dtype=object).value_counts()
    vocabulary = sorted(times.index[times >= SHARED])
    if not vocabulary:
        return np.zeros((len(items), 1), np.float32)
    weights = TfidfVectorizer(analyzer=list, vocabulary=vocabulary, sublinear_tf=True).fit_transform(said)
    size = min(dimensions, min(weights.shape) - 1)
    if size < 1:
        return np.zeros((len(items), 1), np.float32)
    found = TruncatedSVD(size, random_state=seed).fit_transform(weights)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.round(np.where(length > 1e-6, found / np.maximum(length, 1e-6), 0.0), 5).astype(np.float32)
