"""How often each average effect's 90 % interval holds the truth, over small worlds with a planted effect.

    python -m benchmarks.coverage --worlds 40

Outcomes of 0.5 % and of 5 %; see tests/models/worlds.py. With 40 worlds the share itself has a standard error of .047.
Then worlds with a hidden cause of known strength: how often the bound for that strength holds the truth.
"""

import argparse
from collections.abc import Sequence

import pandas as pd

from jobs.models import estimators, instrumental, sensitivity
from tests.models.worlds import EFFECT, HOW, STRENGTH, fit, hidden, world


def covered(seed: int, scale: float) -> list[dict[str, object]]:
    """One row a method: whether its interval holds the truth, and how many standard errors off it is."""
    made = world(seed, scale=scale)
    nuisance = made.nuisance(seed)
    findings = estimators.side_by_side(made.trials, nuisance, made.items, made.instrument)
    rows = []
    for found in [*findings, instrumental.late(made.trials, made.instrument, HOW, seed)]:
        if found.estimate is None:
            continue
        truth, given = made.truth[found.over], found.estimate
        error = (given.high - given.low) / 2 / estimators.Z90
        off = (given.value - truth) / error
        rows.append({"method": found.method, "covered": abs(off) <= estimators.Z90, "off": off, "error": error})
    return rows


def bounded(seed: int) -> tuple[bool, bool]:
    """Whether the sensitivity bound for the true strength holds the truth, and whether AIPW's plain interval does."""
    made = hidden(seed)
    n = fit(made.trials, seed)
    bound, plain = (
        sensitivity.bounds(made.trials, n.e, n.mu0, n.mu1, STRENGTH),
        estimators.aipw(made.trials, n).estimate,
    )
    assert plain is not None
    return bound.low <= EFFECT <= bound.high, plain.low <= EFFECT <= plain.high


def main(argv: Sequence[str] | None = None) -> int:
    """Print coverage, mean and standard deviation of the standardised error of each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=40)
    worlds = parser.parse_args(argv).worlds
    for scale in (1.0, 10.0):
        table = pd.DataFrame(row for seed in range(worlds) for row in covered(seed, scale))
        said = table.groupby("method", sort=False).agg(
            coverage=("covered", "mean"), mean=("off", "mean"), sd=("off", "std"), error=("error", "mean")
        )
        print(f"outcome about {0.5 * scale:g} %, {worlds} worlds\n{said.round(4).to_string()}\n", flush=True)
    wide, narrow = zip(*(bounded(seed) for seed in range(worlds)), strict=True)
    print(
        f"hidden cause of strength {STRENGTH:g}: the bound holds the truth in {sum(wide)} of {worlds} worlds,"
        f" AIPW's interval in {sum(narrow)}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
