"""How near the night's effects come to the truth, in semi-synthetic worlds (benchmarks/causal_world.py).

    python -m benchmarks.effects --seeds 0,1,2 --settings original,personalized --estimated --json effects.json

The night's jobs run one after another on a warehouse, lake and MLflow of their own; every pair gets a place in its
user's list. ``published`` is the list's order (the low end of the interval where an effect is not identified),
``effect`` the order by the published effect. promise: mean published effect of the top tens by ``effect`` over their
true mean effect; promise_published: the same of the lists' top tens. coverage: share of 90 % intervals that hold the
truth. blind: share of the pairs whose true propensity lies outside [.01, .99] that are said to be not identified; seen:
share of the others that are said to be identified.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import causal_world, nights
from benchmarks.causal_world import RUN_DATE, SETTINGS, Bools, Draw, Floats, World
from jobs.runtime.args import run
from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError
from jobs.runtime.site import find_site
from jobs.tables.contracts import RECOMMENDATIONS

SITE = "bench"
FEW = 0.01  # of a propensity: no overlap beyond it
PUBLISHED = ["user_id", "item_id", "rank", "effect", "effect_low", "effect_high", "identified", "policy"]


def run_night(
    world: World, drawn: Draw, environment: Environment, logged: bool, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The published lists of a world and what each job took."""
    site = find_site(SITE, environment.sites)
    if site.list_length != len(world.items):
        raise NightliftError(f"bench.yaml: list_length must be {len(world.items)}, the number of items")
    causal_world.write(world, drawn, environment.home / "raw", logged, seed)
    lake, taken = nights.run_jobs(environment, SITE, RUN_DATE, environment.home / "raw")
    uplift, gate = lake.read_json("uplift"), lake.read_json("effects_gate")
    about = {
        "jobs": taken,
        "calibration": uplift["calibration"],
        "figures": {name: figure["value"] for name, figure in uplift["metrics"].items()},
        "gate": {check["name"]: check["passed"] for check in gate["checks"]},
    }
    return lake.read_pandas(RECOMMENDATIONS, PUBLISHED), about


def square(world: World, lists: pd.DataFrame, column: str, missing: float) -> Floats:
    """A column of the lists as users x items; ``missing`` where a pair is not listed."""
    out = np.full(world.propensity.shape, missing)
    user = pd.Index(world.users).get_indexer(pd.Index(lists.user_id))
    item = pd.Index(world.items).get_indexer(pd.Index(lists.item_id))
    out[user, item] = lists[column].to_numpy(dtype=np.float64)
    return out


def judge(world: World, lists: pd.DataFrame) -> tuple[dict[str, Floats], dict[str, float]]:
    """The two orders as scores, and how far the published effects keep their promise."""
    truth, effect = world.effect, square(world, lists, "effect", -np.inf)
    low, high = (square(world, lists, name, np.nan) for name in ("effect_low", "effect_high"))
    listed, identified = np.isfinite(effect), square(world, lists, "identified", 0.0) == 1.0
    holds = (low <= truth) & (truth <= high)
    published = -square(world, lists, "rank", np.inf)
    top, listed_top = top_ten(effect), top_ten(published)
    few = (world.propensity < FEW) | (world.propensity > 1.0 - FEW)
    promise = {
        "promised": float(effect[top].mean()),
        "kept": float(truth[top].mean()),
        "promise": float(effect[top].mean() / truth[top].mean()),
        "promise_published": float(effect[listed_top].mean() / truth[listed_top].mean()),
        "coverage": float(holds[listed].mean()),
        "coverage_identified": float(holds[listed & identified].mean()),
        "coverage_top_ten": float(holds[top].mean()),
        "listed": float(listed.mean()),
        "identified": float(identified[listed].mean()),
        "identified_top_ten": float(identified[top].mean()),
        "blind": float((~identified)[few & listed].mean()),
        "seen": float(identified[~few & listed].mean()),
        "by_effect": float((lists.policy == "adjusted").mean()),
    }
    return {"published": published, "effect": effect}, promise


def top_ten(score: Floats) -> Bools:
    """Each user's ten best pairs."""
    top = np.zeros(score.shape, dtype=bool)
    np.put_along_axis(top, np.argsort(-score, axis=1, kind="stable")[:, :10], True, axis=1)
    return top


def compare(world: World, drawn: Draw, ours: dict[str, Floats], seed: int) -> pd.DataFrame:
    """One row a method: CP@10, CP@100 and CDCG."""
    counts, shape = drawn.counts(), world.effect.shape
    popular = (counts[1] + counts[3]).sum(axis=0).astype(np.float64)
    scores = {
        "random": np.random.default_rng(seed).random(shape),
        "popularity": np.broadcast_to(popular, shape),
        "pair difference, k = 1": causal_world.shrunken_difference(counts),
        **{f"nightlift, {name}": score for name, score in ours.items()},
        "Bayes limit": causal_world.bayes_limit(world, counts),
        "oracle": world.effect,
    }
    return pd.DataFrame({name: causal_world.metrics(score, world.effect) for name, score in scores.items()}).T


def bench(world: World, home: Path, seed: int, logged: bool, keep: bool) -> dict[str, Any]:
    """Everything measured in one world; prints it."""
    drawn = causal_world.draw(world, seed)
    start = monotonic()
    with nights.started(home, keep) as environment:
        lists, about = run_night(world, drawn, environment, logged, seed)
    seconds = round(monotonic() - start, 1)
    ours, promise = judge(world, lists)
    table = compare(world, drawn, ours, seed)
    print(f"{table.round(4).to_string()}\n{pd.Series(promise).round(4).to_string()}", flush=True)
    print(f"gate {about['gate']}, calibration {about['calibration']}, {seconds:.0f} s", flush=True)
    return {"seed": seed, "metrics": table.to_dict("index"), "promise": promise, "seconds": seconds, **about}


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table a world, and write all of them to a file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0", help="comma-separated seeds of the draws")
    parser.add_argument("--settings", default=",".join(SETTINGS), help=f"comma-separated, of {', '.join(SETTINGS)}")
    log = parser.add_mutually_exclusive_group()
    log.add_argument("--logged", action="store_true", help="the log has the true propensities")
    log.add_argument("--estimated", action="store_true", help="the log has no propensities (default)")
    parser.add_argument("--home", type=Path, help="folder the nights' state is kept in; default: a temporary one")
    parser.add_argument("--json", type=Path, help="file the figures are written to")
    given = parser.parse_args(argv)
    settings = given.settings.split(",")
    if not set(settings) <= set(SETTINGS):
        parser.error(f"--settings {given.settings}: choose from {', '.join(SETTINGS)}")
    root = given.home or Path(tempfile.mkdtemp(prefix="nightlift-effects-"))
    original = causal_world.original()
    results = []
    for setting in settings:
        world = original if setting == "original" else original.personalized()
        for seed in map(int, given.seeds.split(",")):
            name = f"{setting}-{'logged' if given.logged else 'estimated'}-{seed}"
            print(f"{name}: {len(world.users):,} users x {len(world.items):,} items", flush=True)
            result = bench(world, root.resolve() / name, seed, given.logged, given.home is not None)
            results.append({"setting": setting, "logged": given.logged, **result})
            if given.json:
                given.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if not given.home:
        root.rmdir()
    return 0


if __name__ == "__main__":
    run(main)
