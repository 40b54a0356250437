"""Effects by level: the doubly robust ones hold what was planted, pooling shrinks items towards their category."""

import json
from dataclasses import replace

import numpy as np

from jobs.models import item_effects
from jobs.tables.contracts import ITEM_EFFECTS
from tests.models.nights import night


def test_every_level_holds_the_planted_effects_nine_times_in_ten_or_so():
    held = []
    for seed in range(3):
        world = night(seed)
        trials, fitted = world.fit()
        table = item_effects.table(trials, fitted.predicted, world.items)
        assert set(table.columns) == set(ITEM_EFFECTS.names)
        robust = table[table["method"] == "aipw"].set_index(["level", "key"])
        truth = {("all", "all"): world.effect.mean()}
        for level, key in (("category", trials.category), ("item", trials.item)):
            truth |= {(level, name): world.effect[key == name].mean() for name in np.unique(key)}
        assert set(truth) == set(robust.index) and len(truth) == 1 + 4 + 16
        held += [robust.loc[place, "low"] <= value <= robust.loc[place, "high"] for place, value in truth.items()]
        assert robust["identified"].all() and (robust["overlap_share"] > 0.99).all()
    assert 0.8 < np.mean(held) < 1.0


def test_pooled_items_lie_between_their_own_estimate_and_their_category():
    world = night()
    trials, fitted = world.fit()
    table = item_effects.table(trials, fitted.predicted, world.items).set_index(["level", "method", "key"])["estimate"]
    for item, category in world.items["category"].items():
        own, pooled = table["item", "aipw", item], table["item", "pooled", item]
        parent = table["category", "pooled", category]
        assert min(own, parent) - 1e-9 <= pooled <= max(own, parent) + 1e-9


def test_raw_difference_shows_the_confounding_that_weighting_takes_out():
    world = night()
    trials, fitted = world.fit()
    table = item_effects.table(trials, fitted.predicted, world.items)
    average = table[table["level"] == "all"].set_index("method")
    raw, robust = average.loc["difference"], average.loc["aipw"]
    assert raw["low"] > world.effect.mean() and robust["low"] <= world.effect.mean() <= robust["high"]


def test_item_that_was_never_shown_is_not_identified_and_has_no_difference():
    world = night()
    trials, fitted = world.fit()
    items = world.items.copy()
    items.loc["i03", ["treated", "treated_outcomes"]] = 0
    table = item_effects.table(trials, fitted.predicted, items)
    mine = table[(table["level"] == "item") & (table["key"] == "i03")].set_index("method")
    assert "difference" not in mine.index and not mine["identified"].any()


def test_segments_and_their_categories_hold_the_planted_effects_and_count_their_trials():
    world = night()
    trials, fitted = world.fit()
    table = item_effects.by_segment(trials, fitted.predicted)
    assert list(table.columns) == ITEM_EFFECTS.names and set(table["method"]) == {"aipw"}
    whole = table[table["level"] == "segment"].set_index("key")
    assert set(whole.index) == {"keen", "idle"}
    for name, row in whole.iterrows():
        mine = trials.segment == name
        assert row["low"] <= world.effect[mine].mean() <= row["high"]
        assert row["treated"] == trials.trials.treated[mine].sum() and row["treated"] + row["control"] == mine.sum()
    cells = table[table["level"] == "segment_category"].set_index("key")
    assert set(cells.index) == {json.dumps([segment, f"c{n}"]) for segment in ("keen", "idle") for n in range(4)}
    assert cells.loc['["keen", "c0"]', "low"] > 0.1 > cells.loc['["idle", "c2"]', "high"]
    assert cells["identified"].all() and (cells["overlap_share"] > 0.99).all()


def test_a_segment_of_few_users_is_left_out():
    trials, fitted = night().fit()
    few = np.isin(trials.trials.users, np.unique(trials.trials.users)[: item_effects.MIN_USERS - 1])
    made = item_effects.by_segment(replace(trials, segment=np.where(few, "few", "many")), fitted.predicted)
    assert set(made.loc[made["level"] == "segment", "key"]) == {"many"}
