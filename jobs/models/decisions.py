"""Which models make tonight's lists: the challenger, just trained, or the champion, which made the lists before.

What cannot be compared (nothing happened, a figure is not a number) leaves the champion; without one, the challenger is
all there is.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jobs.models.metrics import Estimate
from jobs.runtime.errors import DataError

CHALLENGER, CHAMPION = "challenger", "champion"
RELEVANCE = "relevance"  # no effect ranks tonight, everyone has the relevance list


@dataclass(frozen=True)
class Decision:
    """What was chosen, why, and what a person had to say against it (``reason``; empty where nobody had)."""

    chosen: str
    why: str
    figures: dict[str, Estimate] = field(default_factory=dict)
    reason: str = ""

    def overridden(self, choice: str | None, reason: str, possible: Collection[str]) -> "Decision":
        """The decision after a person's ``choice``, if there is one; DataError where it cannot be had tonight."""
        if choice is None:
            return self
        if choice not in possible:
            raise DataError(
                f"the choice {choice!r} cannot be had tonight ({self.why}); there is {', '.join(sorted(possible))}"
            )
        return Decision(choice, f"a person chose it over: {self.chosen}, as {self.why}", self.figures, reason)

    def document(self) -> dict[str, Any]:
        """The decision for JSON."""
        figures = {name: figure.document() for name, figure in self.figures.items()}
        return {"chosen": self.chosen, "why": self.why, "reason": self.reason, "figures": figures}


def decide_ranker(difference: Estimate | None, margin: float, champion: str) -> Decision:
    """The challenger unless its lead over the champion may be less than -``margin`` (non-inferiority).

    ``champion`` says why there is none to compare with; empty where there is one.
    """
    if champion:
        return Decision(CHALLENGER, champion)
    if difference is None or not np.isfinite([difference.value, difference.low, difference.high]).all():
        return Decision(CHAMPION, "the two could not be compared: nobody had an outcome in the later period")
    figures = {"ranker_lead_ndcg_10": difference}
    said = f"the challenger's lead in NDCG@10 is {difference.value:+.4f} (90 % {difference.low:+.4f} to"
    said += f" {difference.high:+.4f})"
    if difference.low >= -margin:
        return Decision(CHALLENGER, f"{said}, not worse than the margin {margin:g}", figures)
    return Decision(CHAMPION, f"{said}, which may be worse than the margin {margin:g}", figures)


def decide_uplift(failed: Collection[str], qini: Estimate | None, champion: str) -> Decision:
    """The challenger where it passed every check; else the champion where its Qini on tonight's trials is above 0.

    ``failed`` names the checks the challenger failed; ``champion`` says why there is none, empty where there is one.
    Where neither holds, no effect ranks tonight.
    """
    figures = {"champion_qini": qini} if qini else {}
    if not failed:
        return Decision(CHALLENGER, "the challenger passed every check", figures)
    said = f"the challenger failed {', '.join(failed)}"
    if champion or qini is None:
        return Decision(RELEVANCE, f"{said}, and {champion or 'the champion could not be scored'}")
    held = f"the champion's Qini on the same trials is {qini.value:.5f} (90 % {qini.low:.5f} to {qini.high:.5f})"
    if qini.low > 0:  # False also where it is not a number
        return Decision(CHAMPION, f"{said}; {held}, above 0", figures)
    return Decision(RELEVANCE, f"{said}, and {held}, not above 0", figures)
