"""What a night proves and what it does not, in sentences that stand beside its lists wherever they are shown."""

from collections.abc import Mapping

from jobs.runtime.figure_words import Figure, points_said, said, share_said

GAIN = "ope_gain_over_relevance_rule_dr"  # of ranking by effect over ranking by relevance, on past trials


def proofs(figures: Mapping[str, Figure]) -> list[str]:
    """Of the average, of single pairs, and of ranking by effect; what a night's ``figures`` lack is left out.

    The three are kept apart, because the first may be proved while the others are not.
    """
    average, alone, gain = (figures.get(name, {}) for name in ("average_effect", "list_proved_share", GAIN))
    sentences = []
    if average.get("low") is not None:
        sentences.append(f"On average over all trials showing an item adds {points_said(average)}: {_proved(average)}.")
    if (share := alone.get("value")) is not None:
        short = "; for most single pairs of user and item the log is too short to prove anything" if share < 0.5 else ""
        sentences.append(
            f"Of the places ranked by effect, {share_said(alone)} have an interval above zero of their own{short}."
        )
    if gain.get("low") is not None:
        sentences.append(ranking(gain)[1])
    return sentences


def _proved(figure: Figure) -> str:
    low, high = figure["low"], figure["high"]
    assert low is not None and high is not None
    if low > 0:
        return "that is proved"
    if high < 0:
        return "it is proved that showing takes outcomes away"
    return "its interval holds zero, so it is not proved"


def ranking(gain: Figure) -> tuple[str, str]:
    """Whether ranking past trials by effect brings more than ranking them by relevance: tone, and a sentence."""
    low, high = gain["low"], gain["high"]
    assert low is not None and high is not None
    text = f"the difference, estimated doubly robust, is {said(gain)} outcomes a trial."
    if low > 0:
        return "good", f"Judged on past trials, ranking by effect brings more than ranking by relevance: {text}"
    if high < 0:
        return "bad", f"Judged on past trials, ranking by effect brings less than ranking by relevance: {text}"
    return "warn", f"Judged on past trials, ranking by effect brings no proved gain over ranking by relevance: {text}"
