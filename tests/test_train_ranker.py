"""The challenger is compared with the champion on what neither has seen, each by the sources of its own recipe."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import xgboost as xgb

from jobs import train_ranker
from jobs.models import ranker
from jobs.models.boosting import parameters, predict, to_bytes
from jobs.runtime.args import JobArgs
from jobs.runtime.choices import Champion, Registered
from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site
from jobs.tables.contracts import SOURCES


def booster(column: str) -> bytes:
    """A ranker that prefers candidates with more in ``column``."""
    rng = np.random.default_rng(0)
    data = rng.random((400, len(ranker.COLUMNS))).astype(np.float32)
    label = data[:, ranker.COLUMNS.index(column)]
    return to_bytes(xgb.train(parameters(0, max_depth=3), xgb.DMatrix(data, label), 20))


def champion(**changed: object) -> Champion:
    recipe = {"features": list(ranker.COLUMNS)} | changed
    files = {"recipe.json": json.dumps(recipe).encode(), train_ranker.JUDGED: booster("outcomes_28d")}
    return Champion(Registered("3", "models:/shop-ranker/3", "f" * 64), files, "")


def test_the_champion_is_compared_on_the_latest_window_by_the_booster_that_has_not_seen_it() -> None:
    args = JobArgs(Site(site="shop", outcome=Outcome(event_types=("purchase",))), date(2024, 1, 8), Environment.load())
    rng = np.random.default_rng(1)
    test = pd.DataFrame(rng.random((600, len(ranker.COLUMNS))).astype(np.float32), columns=list(ranker.COLUMNS))
    test["user_id"], test["item_id"] = np.repeat([f"u{n}" for n in range(50)], 12), [f"i{n}" for n in range(12)] * 50
    wanted = test["outcomes_91d"] > 0.8
    real = test.loc[wanted, ["user_id", "item_id"]]
    lead, why = train_ranker.compare(args, champion(), test, real, test["outcomes_91d"].to_numpy())
    assert lead is not None and lead.low > 0.1 and not why, "the champion looks at another column"
    same = predict(champion().files[train_ranker.JUDGED], ranker.matrix(test))
    lead, _ = train_ranker.compare(args, champion(), test, real, same)
    assert lead is not None and (lead.low, lead.high) == (0.0, 0.0)


def test_a_champion_lists_only_what_its_own_sources_bring() -> None:
    args = JobArgs(Site(site="shop", outcome=Outcome(event_types=("purchase",))), date(2024, 1, 8), Environment.load())
    rng = np.random.default_rng(1)
    test = pd.DataFrame(rng.random((600, len(ranker.COLUMNS))).astype(np.float32), columns=list(ranker.COLUMNS))
    test["user_id"], test["item_id"] = np.repeat([f"u{n}" for n in range(50)], 12), [f"i{n}" for n in range(12)] * 50
    test = test.assign(**dict.fromkeys(SOURCES, False))
    test["from_popularity"] = test["outcomes_91d"] > 0.5
    test["from_repeat"] = ~test["from_popularity"]
    real = test.loc[test["from_repeat"], ["user_id", "item_id"]]
    own = predict(champion().files[train_ranker.JUDGED], ranker.matrix(test))
    lead, _ = train_ranker.compare(args, champion(sources=["from_popularity"]), test, real, own)
    assert lead is not None and lead.low > 0.1, "the same booster, but the champion never sees what was right"


def test_a_champion_of_other_columns_or_none_cannot_be_compared() -> None:
    args = JobArgs(Site(site="shop", outcome=Outcome(event_types=("purchase",))), date(2024, 1, 8), Environment.load())
    nothing = pd.DataFrame()
    for other in (champion(features=["x"]), replace(champion(), files={"recipe.json": b"{}"})):
        lead, why = train_ranker.compare(args, other, nothing, nothing, np.zeros(0))
        assert lead is None and "other columns" in why
    lead, why = train_ranker.compare(args, Champion(None, {}, "there is none"), nothing, nothing, np.zeros(0))
    assert (lead, why) == (None, "there is none")
