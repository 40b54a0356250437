"""Users are streamed whole however the file is cut, and the night's totals are means over users."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs import adjust
from jobs.models.lists import ItemFacets, build_lists
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError
from jobs.runtime.site import Outcome, Ranking, Site
from jobs.tables.contracts import ITEM_VECTORS, ITEMS, RUN_METRICS, SCORES
from jobs.tables.lake import Lake

SIZES = [1, 7, 2, 12, 3, 1, 9, 5]


def night(folder: Path) -> JobArgs:
    site = Site(
        site="shop", outcome=Outcome(event_types=("purchase",)), list_length=4, holdout_share=0.3, explore_share=0.2
    )
    return JobArgs(site, date(2024, 1, 8), Environment(folder, folder, str(folder), {}))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(night(tmp_path))


def scores(sizes: list[int], seed: int = 0) -> pd.DataFrame:
    rng, rows = np.random.default_rng(seed), sum(sizes)
    effect = rng.normal(0.02, 0.02, rows)
    frame = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{n:03d}" for n in range(len(sizes))], sizes),
            "item_id": [f"i{n:02d}" for size in sizes for n in range(size)],
            "category": [f"c{n % 4}" for size in sizes for n in range(size)],
            "category_share": rng.random(rows),
            "relevance": rng.random(rows),
            "effect": effect,
            "effect_low": effect - 0.01,
            "effect_high": effect + 0.01,
            "identified": rng.random(rows) < 0.5,
            "propensity_shown": rng.random(rows),
            "price": rng.random(rows),
            "days_since_last": np.where(rng.random(rows) < 0.5, np.nan, 3.0),
        }
    )
    counts = {"treated": 1, "treated_outcomes": 1, "control": 2, "control_outcomes": 0}
    return frame.assign(**{name: np.int32(count) for name, count in counts.items()})[SCORES.names]


def write(lake: Lake, frame: pd.DataFrame, row_group: int) -> None:
    table = pa.Table.from_pandas(frame, schema=SCORES.arrow_schema, preserve_index=False)
    lake.write_arrow(SCORES, pa.RecordBatchReader.from_batches(table.schema, table.to_batches(row_group)))
    (part,) = lake.history(SCORES)
    assert pq.ParquetFile(part.files[0]).num_row_groups == -(-len(frame) // row_group)


def streamed(lake: Lake) -> Iterator[tuple[list[str], pd.DataFrame]]:
    for part in adjust.whole_users(lake):
        yield part["user_id"].unique().tolist(), part


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8, 13, 40, 100])
@pytest.mark.parametrize("row_group", [4, 1000])
def test_users_split_over_batches_are_put_together(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, batch: int, row_group: int
) -> None:
    frame = scores(SIZES)
    write(lake, frame, row_group)
    monkeypatch.setattr(adjust, "ROWS", batch)
    users, parts = zip(*streamed(lake), strict=True)
    assert [user for part in users for user in part] == sorted(frame["user_id"].unique())  # each user once
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), frame)
    if batch == 1:
        assert len(parts) == len(SIZES)  # no more than what is needed is held


def test_what_may_not_be_listed_is_never_seen_and_users_stay_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = scores(SIZES)
    frame.loc[frame["user_id"] == "u004", "days_since_last"] = 1.0
    write(lake, frame, 4)
    monkeypatch.setattr(adjust, "ROWS", 3)
    parts = list(adjust.whole_users(lake, ds.field("days_since_last").is_null()))
    kept = frame[frame["days_since_last"].isna()].reset_index(drop=True)
    assert 0 < kept["user_id"].nunique() < len(SIZES), "somebody has nothing left"
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), kept)
    assert len([user for part in parts for user in part["user_id"].unique()]) == kept["user_id"].nunique()


def test_an_empty_table_has_no_users(lake: Lake) -> None:
    write(lake, scores([3]).iloc[:0], 10)
    assert list(adjust.whole_users(lake)) == []


def test_user_totals_are_the_means_of_both_lists(tmp_path: Path) -> None:
    frame = scores([20] * 40)
    frame["effect_low"] = frame["effect"] - 0.03
    how = adjust.settings(night(tmp_path), passed=True)
    made = build_lists(frame, how)
    listed, alone, _ = made
    totals = adjust.user_totals(made, frame, how).set_index("user_id")
    assert len(totals) == 40
    assert set(totals["held_out"]) == {0.0, 1.0}
    effect = frame.set_index(["user_id", "item_id"])["effect"]
    for user, row in totals.iterrows():
        mine, other = listed[listed["user_id"] == user], alone[alone["user_id"] == user]
        assert row["rows"] == len(mine) == how.length
        assert row["effect"] == pytest.approx(np.mean([effect[user, item] for item in mine["item_id"]]))
        assert row["relevance_effect"] == pytest.approx(np.mean([effect[user, item] for item in other["item_id"]]))
        assert row["identified"] == pytest.approx(mine["identified"].mean())
        assert row["explored"] == pytest.approx((mine["policy"] == "explore").mean())
        ranked = mine[mine["policy"] == "adjusted"]
        assert row["proved"] == pytest.approx((ranked["effect_low"] > 0).mean(), nan_ok=True)
    kept = totals[totals["held_out"] == 1]
    assert np.allclose(kept["effect"], kept["relevance_effect"])
    assert kept["proved"].isna().all() and 0 < totals["proved"].mean() < 1


def test_figures_of_lists_leave_the_control_group_out(lake: Lake) -> None:
    totals = pd.DataFrame(
        {
            "user_id": ["a", "b", "c"],
            "effect": [0.1, 0.3, 9.0],
            "relevance_effect": [0.05, 0.15, 9.0],
            "identified": [1.0, 0.5, 0.0],
            "rows": [4, 4, 3],
            "held_out": [0.0, 0.0, 1.0],
            "explored": [0.25, 0.0, 0.0],
            "proved": [0.5, 0.0, np.nan],
        }
    )
    gate = {"passed": False, "checks": [{"name": "qini", "passed": False}, {"name": "placebo", "passed": True}]}
    record = {"metrics": {"qini": {"value": 0.2, "low": 0.1, "high": 0.3}}}
    adjust.write_metrics(lake, totals, [record], gate, 0)
    figures = lake.read_pandas(RUN_METRICS).set_index("metric")["value"].to_dict()
    assert figures == pytest.approx(
        {
            "list_effect": 0.2,
            "list_effect_by_relevance": 0.1,
            "list_identified_share": 0.5,
            "users": 3,
            "held_out_share": 1 / 3,
            "explored_share": 0.125,
            "list_proved_share": 0.25,
            "list_rows": 11,
            "effects_gate": 0,
            "gate_qini": 0,
            "gate_placebo": 1,
            "qini": 0.2,
        }
    )
    low = lake.read_pandas(RUN_METRICS).set_index("metric")["low"]
    assert low["qini"] == 0.1
    assert np.isnan(low["users"])
    adjust.write_metrics(lake, totals.assign(proved=np.nan), [record], gate, 0)
    assert "list_proved_share" not in set(lake.read_pandas(RUN_METRICS)["metric"])


def test_lists_are_composed_by_the_brands_and_vectors_that_the_site_asks_for(lake: Lake, tmp_path: Path) -> None:
    items = pa.table(
        {
            name: pa.array(["i1", "i2"] if name == "item_id" else [None] * 2, kind.type)
            for name, kind in zip(ITEMS.names, ITEMS.arrow_schema, strict=True)
        }
    ).append_column("maker", pa.array(["x", None]))
    lake.write_arrow(ITEMS, items)
    vectors = {"item_id": ["i1"], "vector": ["[0.6, 0.8]"]}
    lake.write_arrow(ITEM_VECTORS, pa.table(vectors, schema=ITEM_VECTORS.arrow_schema))
    args = night(tmp_path)

    def asked(**ranking: object) -> ItemFacets:
        site = args.site.model_copy(update={"ranking": Ranking.model_validate(ranking)})
        return adjust.item_facets(replace(args, site=site), lake)

    plain = asked()
    assert plain.brand.empty and plain.vector.empty
    full = asked(brand="maker", max_per_brand=2, variety="mmr")
    assert full.brand.to_dict() == {"i1": "x", "i2": None}
    assert full.vector.loc["i1"].tolist() == pytest.approx([0.6, 0.8])
    with pytest.raises(DataError, match="no column 'colour'"):
        asked(brand="colour", max_per_brand=2)
