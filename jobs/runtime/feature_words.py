"""What the effect models know of a trial, in words: the names under plots of features."""

from jobs.models import plain

LEARNT = {  # of a pair's own past and its item's: what the learner sees beside the features
    "rate_shown": "expected outcome rate if shown",
    "rate_not_shown": "expected outcome rate if not shown",
    "prior_effect": "difference of the expected rates",
    "prior_sd": "how unsure that difference is",
    "item_rate_shown": "item's outcome rate when shown",
    "item_rate_not_shown": "item's outcome rate when not shown",
    "near_rate_shown": "pair's own rate when shown, drawn to its item's",
    "near_rate_not_shown": "pair's own rate when not shown, drawn to its item's",
    "near_difference": "difference of the pair's own rates",
    "own_rate_shown": "user's outcome rate when it was shown",
    "own_rate_not_shown": "user's outcome rate when it was not",
    "shown_share": "share of earlier periods it was shown",
    "treated": "earlier periods it was shown",
    "treated_outcomes": "outcomes when it was shown",
    "control": "earlier periods it was not",
    "control_outcomes": "outcomes when it was not shown",
}


def feature(name: str) -> str:
    """A feature in words; one without them by its name."""
    return plain.WORDS.get(name) or LEARNT.get(name) or name.replace("_", " ")
