"""How often the whole gate lets effects rank lists, over small worlds: without any effect, and with a planted one.

    python -m benchmarks.gate --worlds 20

A night of ``tests/models/nights.py`` goes through what ``train_uplift`` and ``check_effects`` do: the engine, its
figures, the refutations and the decision, as on a first night, without a champion.
"""

import argparse
from collections import Counter
from collections.abc import Sequence

from jobs import check_effects
from jobs.models import decisions, effect_figures, metrics, refutation
from tests.models.nights import HOW, night

DRAWS = 200  # what a site has where it says nothing


def failed(seed: int, scale: float) -> list[str]:
    """Names of the checks that a world's effects fail; none where they may rank the lists."""
    trials, fitted = night(seed, scale=scale).fit()
    figures = effect_figures.figures(trials, fitted, DRAWS, seed)
    record = {
        "metrics": {name: metrics.as_document(figure) for name, figure in figures.items()},
        "refutations": refutation.attempts(trials.trials, HOW, seed),
    }
    made = [check["name"] for check in check_effects.checks(record, HOW) if not check["passed"]]
    decided = decisions.decide_uplift(made, None, "there is no champion")
    assert (decided.chosen == decisions.CHALLENGER) == (not made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print in how many worlds the gate is open, and which checks closed it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first world")
    given = parser.parse_args(argv)
    for scale in (0.0, 0.2, 1.0):
        found = [failed(seed, scale) for seed in range(given.first, given.first + given.worlds)]
        closed = Counter(name for names in found for name in names)
        said = ", ".join(f"{name} {count}" for name, count in sorted(closed.items())) or "none"
        print(f"effects times {scale:g}: open in {found.count([])} of {len(found)} worlds; failed: {said}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
