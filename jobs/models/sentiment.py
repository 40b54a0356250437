"""What a comment says: the sentiment of its words by the VADER lexicon, which is English.

Source: Hutto and Gilbert, "VADER: A parsimonious rule-based model for sentiment analysis of social media text",
ICWSM 2014. The lexicon lies in the package; nothing is downloaded.
"""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

POSITIVE = 0.05  # their bound: at or above it a text is positive, at or below its negative it is negative


@cache
def _analyzer() -> Any:
    return SentimentIntensityAnalyzer()


def valence(texts: pd.Series) -> pd.Series:
    """Compound score of each text, from -1 to 1; NaN where there is no text, or no word of it is in the lexicon.

    A text in another language is mostly one of which no word is known; that is not the same as neutral.
    """
    return texts.map(_of_text, na_action="ignore").astype(np.float64)


def _of_text(text: str) -> float:
    scores = _analyzer().polarity_scores(text)
    known = scores["pos"] or scores["neg"] or scores["compound"]
    return float(scores["compound"]) if known else float("nan")
