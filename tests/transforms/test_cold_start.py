"""A user without any history gets a full list, and an item nobody had or saw a place among the candidates."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from jobs.models import selection
from jobs.models.selection import Mix
from jobs.tables import contracts
from jobs.transforms import candidates
from jobs.transforms.sources import Limits
from tests.transforms.rows import ABOUT, PEOPLE, event, person, things, unlearnt, unoffered

WINDOW = 7


def shop_of_one_big_category() -> candidates.Catalogue:
    """Of 100 items the 60 most popular are of one category; four categories share the others."""
    category = np.r_[np.zeros(60, np.int64), np.arange(40) % 4 + 1]
    return candidates.Catalogue(
        [f"{n:02d}" for n in range(100)], [19_000], np.ones((1, 100), dtype=bool), [np.arange(100)], [0], category,
        [dict.fromkeys(ABOUT, np.ones(100))], things([19_000], category), np.zeros(100, np.int64),
        [np.zeros(100)], [np.arange(100, 0, -1.0)], np.zeros((1, 100), dtype=bool), unoffered(100),
    )  # fmt: skip


def test_a_user_without_any_history_gets_a_full_list_of_several_categories() -> None:
    length, cap = 20, 5
    limits = Limits(200, length, 60, 60, WINDOW, trending=20, per_category=cap)
    nobody = pa.RecordBatch.from_pylist([person("nobody")], PEOPLE)
    shop = shop_of_one_big_category()
    (batch,) = candidates._retriever(shop, unlearnt(), limits)(iter([nobody]))
    mine = batch.to_pandas()
    kind = shop.category[mine["item"]]
    facets = selection.Facets(np.zeros(len(mine), np.int64), kind, *([np.full(len(mine), -1)] * 3))
    listed = selection.select(np.arange(len(mine)), -mine["popularity_rank"].to_numpy(), facets, Mix(length, cap))
    assert len(set(mine["item"][listed])) == length
    assert np.bincount(kind[listed]).max() == cap, "the most popular alone are all of one category"


@pytest.mark.parametrize("everything", [False, True])
def test_an_item_nobody_had_or_saw_is_a_candidate_of_those_whose_items_it_is_like(everything: bool) -> None:
    shop = shop_of_one_big_category()
    liked, other, old = 97, 98, 99  # none of them is a candidate otherwise, and ``old`` is no newcomer
    allowed, new = shop.candidates.copy(), np.zeros((1, 100), dtype=bool)
    allowed[0, [liked, other, old]] = False
    new[0, [liked, other]] = True
    vectors = np.eye(100)
    vectors[[liked, old]] = vectors[3]
    shop = replace(shop, candidates=allowed, popular=[np.arange(97)], new=new)
    users = [person("u", history=[event(18_990, 3)]), person("v", history=[event(18_990, 4)]), person("cold")]
    retriever = candidates._retriever(
        shop, replace(unlearnt(), vectors=vectors), Limits(9, 9, 9, 9, WINDOW, 1.0, everything, 9, 5, 9, 9, 9)
    )
    found = pa.Table.from_batches(retriever(iter([pa.RecordBatch.from_pylist(users, PEOPLE)]))).to_pandas()
    cold = found[found["item"].isin([liked, other, old])]
    assert cold[["user_id", "item"]].to_numpy().tolist() == [["u", liked]]
    assert cold["sources"].tolist() == [1 << contracts.SOURCES.index("from_new")]
    assert cold["content_score"].tolist() == [1.0] and cold["popularity_rank"].isna().all()


@pytest.mark.parametrize("everything", [False, True])
def test_in_a_small_catalogue_what_no_source_brings_is_a_candidate_for_its_effect(everything: bool) -> None:
    shop, limits = shop_of_one_big_category(), Limits(3, 3, 3, 3, WINDOW, 1.0, everything)
    users = pa.RecordBatch.from_pylist([person("u", history=[event(18_990, 3)])], PEOPLE)
    found = pa.Table.from_batches(candidates._retriever(shop, unlearnt(), limits)(iter([users]))).to_pandas()
    unpopular = found[found["item"] == 99]
    assert len(found) == (100 if everything else len(found[found["sources"] > 0]))
    assert unpopular["sources"].tolist() == ([0] if everything else [])
