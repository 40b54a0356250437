"""Every suite: a good table passes, and each way to break one fails with a line that names it."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jobs.check_clean import require_balance
from jobs.check_recommendations import with_list_columns
from jobs.runtime import quality
from jobs.runtime.errors import DataError
from jobs.runtime.pages import SEVERITIES
from jobs.tables.contracts import RECOMMENDATIONS, TABLES

RUN_DATE = date(2024, 1, 8)
PARAMETERS = {
    "run_date": datetime(2024, 1, 8),
    "max_value": 100.0,
    "max_quantity": 10.0,
    "list_length": 2,
    "users": 2,
}
BEFORE = pd.Timestamp("2024-01-07 12:00")


def logs(key: str, time: str) -> dict[str, list[Any]]:
    return {
        key: ["1", "2", "3"],
        "user_id": ["u1", "u1", "u2"],
        "item_id": ["i1", "i2", "i1"],
        time: [BEFORE] * 3,
        "user_known": [True] * 3,
        "item_known": [True] * 3,
    }


def events() -> dict[str, list[Any]]:
    return logs("event_id", "event_ts") | {
        "event_type": ["purchase"] * 3,
        "event_day": [pd.Timestamp("2024-01-07")] * 3,
        "value": [1.0, 2.0, None],
        "quantity": [1.0, None, 3.0],
        "votes": [1.0, None, None],
        "valence": [-1.0, None, 0.5],
    }


def shows() -> dict[str, list[Any]]:
    return logs("exposure_id", "exposed_at") | {"propensity": [0.5, None, 1.0], "position": [1, 2, 1]}


def lists() -> dict[str, list[Any]]:
    rows = 4
    return {
        "run_date": [pd.Timestamp(RUN_DATE)] * rows,
        "user_id": ["u1", "u1", "u2", "u2"],
        "rank": [1, 2, 1, 2],
        "item_id": ["i1", "i2", "i2", "i1"],
        "score": [0.4, 0.3, 0.2, 0.2],
        "relevance": [0.5] * rows,
        "effect": [0.1] * rows,
        "effect_low": [0.0] * rows,
        "effect_high": [0.2] * rows,
        "identified": [True, False, True, True],
        "policy": ["adjusted", "explore", "relevance", "relevance"],
        "propensity": [1.0, 0.2, 1.0, 1.0],
        "reason": ["You often buy it."] * rows,
        "version_id": ["abc"] * rows,
    }


GOOD: dict[str, Callable[[], dict[str, list[Any]]]] = {
    "raw_users": lambda: {"user_id": ["u1", "u2", "u3"]},
    "raw_items": lambda: {"item_id": ["i1", "i2"], "category": ["milk", "bread"], "price": [1.0, None]},
    "raw_interactions": events,
    "raw_exposures": shows,
    "users": lambda: {"user_id": ["u1", "u2"]},
    "items": lambda: {"item_id": ["i1", "i2"], "category": ["milk", "unknown"], "price": [1.0, None]},
    "interactions": events,
    "exposures": shows,
    "user_features": lambda: {
        "user_id": ["u1", "u1"],
        "as_of": [pd.Timestamp("2024-01-01"), pd.Timestamp(RUN_DATE)],
        "user_days_since_last": [1.0, 4.0],
        "user_tenure_days": [1.0, 8.0],
        "user_active_days_28d": [1.0, 2.0],
        "user_active_days_91d": [1.0, 2.0],
        "user_outcomes_28d": [0.0, 2.0],
        "user_outcomes_91d": [1.0, 2.0],
        "user_items_91d": [None, 2.0],
        "user_votes_91d": [0.0, 3.0],
    },
    "item_features": lambda: {
        "item_id": ["i1", "i2"],
        "as_of": [pd.Timestamp(RUN_DATE)] * 2,
        "category": ["milk", "unknown"],
        "item_outcomes_7d": [1.0, 0.0],
        "item_outcomes_28d": [2.0, 0.0],
        "item_outcomes_91d": [3.0, 0.0],
        "item_buyers_91d": [3.0, 0.0],
        "item_days_since_last": [1.0, None],
        "item_price": [1.0, None],
        "item_shown_users_28d": [0.5, None],
        "item_voters": [2.0, 0.0],
        "item_sentiment": [0.4, None],
    },
    "recommendations": lists,
    "nights": lambda: {
        "users_ratio": [1.0],
        "list_rows_ratio": [1.05],
        "identified_share_change": [-0.05],
        "average_effect_gap": [0.0],
    },
}
LATE = [BEFORE, BEFORE, pd.Timestamp(RUN_DATE)]
# table, column to break, its new values, the rule that must fail and how many rows it must name
BAD: list[tuple[str, str, list[Any], str, int | None]] = [
    ("raw_users", "user_id", ["u1", None, None], "not_be_null", 2),
    ("raw_users", "user_id", ["u1", "u1", "u1"], "be_unique", 3),
    ("raw_items", "item_id", [None, None], "not_be_null", 2),
    ("raw_interactions", "event_ts", LATE, "be_between", 1),
    ("raw_interactions", "user_known", [False, False, True], "be_in_set", 2),
    ("raw_exposures", "exposed_at", LATE, "be_between", 1),
    ("users", "user_id", ["u1", "u1"], "be_unique", 2),
    ("users", "user_id", ["u1", ""], "not_be_in_set", 1),
    ("items", "category", ["milk", None], "not_be_null", 1),
    ("items", "price", [-1.0, 2.0], "be_between", 1),
    ("interactions", "event_id", ["1", "1", "2"], "be_unique", 2),
    ("interactions", "value", [1.0, 101.0, -1.0], "be_between", 2),
    ("interactions", "votes", [0.0, 1.0, 2.0], "be_between", 1),
    ("interactions", "valence", [-1.1, 1.0, 1.1], "be_between", 2),
    ("exposures", "propensity", [0.0, 1.1, 0.5], "be_between", 2),
    ("user_features", "as_of", [pd.Timestamp("2024-01-01")] * 2, "compound_columns_to_be_unique", 2),
    ("user_features", "as_of", [BEFORE, pd.Timestamp("2024-01-09")], "be_between", 1),
    ("user_features", "user_days_since_last", [0.0, 4.0], "be_between", 1),
    ("user_features", "user_tenure_days", [1.0, 3.0], "a_to_be_greater_than_b", 1),
    ("user_features", "user_active_days_28d", [1.0, 29.0], "be_between", 1),
    ("user_features", "user_active_days_91d", [1.0, 1.0], "a_to_be_greater_than_b", 1),
    ("user_features", "user_outcomes_91d", [1.0, 1.0], "a_to_be_greater_than_b", 1),
    ("user_features", "user_items_91d", [-1.0, 2.0], "be_between", 1),
    ("user_features", "user_votes_91d", [-1.0, 2.0], "be_between", 1),
    ("item_features", "item_voters", [-1.0, 2.0], "be_between", 1),
    ("item_features", "item_sentiment", [-1.5, None], "be_between", 1),
    ("item_features", "item_id", ["i1", "i1"], "compound_columns_to_be_unique", 2),
    ("item_features", "item_id", ["i1", None], "not_be_null", 1),
    ("item_features", "as_of", [pd.Timestamp(RUN_DATE), pd.Timestamp("2024-01-09")], "be_between", 1),
    ("item_features", "category", ["milk", None], "not_be_null", 1),
    ("item_features", "item_outcomes_7d", [-1.0, 0.0], "be_between", 1),
    ("item_features", "item_outcomes_28d", [0.0, 0.0], "a_to_be_greater_than_b", 1),
    ("item_features", "item_outcomes_91d", [3.0, None], "not_be_null", 1),
    ("item_features", "item_buyers_91d", [4.0, 0.0], "a_to_be_greater_than_b", 1),
    ("item_features", "item_days_since_last", [0.0, None], "be_between", 1),
    ("item_features", "item_price", [-1.0, None], "be_between", 1),
    ("nights", "users_ratio", [0.4], "be_between", 1),
    ("nights", "list_rows_ratio", [2.1], "be_between", 1),
    ("nights", "identified_share_change", [-0.3], "be_between", 1),
    ("nights", "average_effect_gap", [1.1], "be_between", 1),
    ("recommendations", "rank", [1, 3, 1, 2], "be_in_set", 1),
    ("recommendations", "rank", [1, 1, 1, 2], "compound_columns_to_be_unique", 2),
    ("recommendations", "item_id", ["i1", "i1", "i2", "i1"], "compound_columns_to_be_unique", 2),
    ("recommendations", "score", [0.3, 0.4, 0.2, 0.2], "be_in_set", 1),
    ("recommendations", "relevance", [0.5, 1.5, 0.5, 0.5], "be_between", 1),
    ("recommendations", "effect_low", [0.0, 0.15, 0.0, 0.0], "a_to_be_greater_than_b", 1),
    ("recommendations", "effect_high", [0.05, 0.2, 0.2, 0.2], "a_to_be_greater_than_b", 1),
    ("recommendations", "policy", ["adjusted", "best", "relevance", "relevance"], "be_in_set", 1),
    ("recommendations", "propensity", [1.0, 0.0, 1.0, 1.0], "be_between", 1),
    ("recommendations", "propensity", [1.0, None, 1.0, 1.0], "not_be_null", 1),
    ("recommendations", "reason", ["", "a", "b", "c"], "value_lengths_to_be_between", 1),
    ("recommendations", "version_id", ["a", "a", "b", "b"], "unique_value_count", None),
    ("recommendations", "user_id", ["u1"] * 4, "unique_value_count", None),
    ("recommendations", "run_date", [pd.Timestamp("2024-01-07")] * 4, "be_between", 4),
]


def frame(table: str, broken: dict[str, list[Any]] | None = None) -> pd.DataFrame:
    """A frame in the form the checks see: through Arrow, with the list columns where the table has them."""
    light = quality.light_frame(
        pa.Table.from_pandas(pd.DataFrame(GOOD[table]() | (broken or {})), preserve_index=False)
    )
    return with_list_columns(light, pd.Series({"u1": 9, "u2": 9}), 2) if table == RECOMMENDATIONS.name else light


def failures(table: str, data: pd.DataFrame) -> list[quality.Result]:
    return [result for result in quality.validate({table: data}, PARAMETERS, RUN_DATE) if not result.success]


def test_every_suite_belongs_to_a_table_and_has_cases():
    suites = {path.stem for path in quality.SUITES.glob("*.json")}
    assert suites == set(GOOD) == {case[0] for case in BAD}
    assert suites <= set(TABLES)


@pytest.mark.parametrize("table", GOOD)
def test_every_rule_has_a_plain_note_and_a_column_of_its_table(table: str):
    suite = quality.load_suite(table)
    assert suite["name"] == table and suite["expectations"] and suite["meta"]["notes"]
    assert all(rule["meta"]["notes"] and rule["severity"] in SEVERITIES for rule in suite["expectations"])
    derived = {"user_known", "item_known", "rank_is_next", "score_not_above_previous", "list_is_whole"}
    assert set(quality.suite_columns(table)) <= set(TABLES[table].columns) | derived


def test_good_tables_pass_every_rule():
    results = quality.validate({table: frame(table) for table in GOOD}, PARAMETERS, RUN_DATE)
    assert {result.table for result in results} == set(GOOD)
    assert [str(result) for result in results if not result.success] == []


@pytest.mark.parametrize(("table", "column", "values", "rule", "rows"), BAD)
def test_a_broken_table_fails_with_its_column_rule_and_rows(
    table: str, column: str, values: list[Any], rule: str, rows: int | None
):
    results = failures(table, frame(table, {column: values}))
    critical = [result for result in results if result.severity == "critical" and rule in result.expectation]
    assert critical, [str(result) for result in results]
    if rows is not None:
        assert rows in [result.failing for result in critical]
    with pytest.raises(DataError, match=f"{table}.*{rule}"):
        quality.require(results, "check of a test")


@pytest.mark.parametrize(
    "table", ["raw_users", "raw_items", "users", "items", "user_features", "item_features", "recommendations", "nights"]
)
def test_an_empty_table_fails_where_there_must_be_rows(table: str):
    results = failures(table, frame(table).head(0))
    assert any(result.expectation == "table_row_count_to_be_between" for result in results)


@pytest.mark.parametrize("table", ["raw_interactions", "raw_exposures", "interactions", "exposures"])
def test_a_night_without_new_rows_passes(table: str):
    assert failures(table, frame(table).head(0)) == []


def test_a_warning_is_printed_and_stops_nothing(capsys: pytest.CaptureFixture[str]):
    results = failures("raw_items", frame("raw_items", {"price": [-1.0, 2.0]}))
    quality.require(results, "check of a test")
    assert "warning: raw_items.price" in capsys.readouterr().out


@pytest.mark.parametrize("column", [name for name in GOOD["nights"]()])
def test_a_figure_that_moves_a_little_is_a_warning_only(column: str):
    moved = {"identified_share_change": 0.15, "average_effect_gap": 0.5}.get(column, 1.3)
    (result,) = failures("nights", frame("nights", {column: [moved]}))
    assert (result.column, result.severity, result.failing) == (column, "warning", 1)


def test_a_first_night_has_no_figure_to_fail_on():
    nothing = pa.Table.from_pylist([{}], schema=TABLES["nights"].arrow_schema)
    assert failures("nights", quality.light_frame(nothing)) == []


def test_more_users_shown_than_active_is_a_warning_only():
    (result,) = failures("item_features", frame("item_features", {"item_shown_users_28d": [0.5, 1.5]}))
    assert (result.column, result.severity, result.failing) == ("item_shown_users_28d", "warning", 1)


def test_data_docs_have_a_stable_address_and_hold_no_value_of_the_data(tmp_path):
    broken = frame("users", {"user_id": ["somebody-private", "somebody-private"]})
    for _ in range(2):
        quality.validate({"users": broken}, PARAMETERS, RUN_DATE, tmp_path / "docs")
    pages = sorted(path for path in (tmp_path / "docs").rglob("*.html"))
    assert tmp_path / "docs" / "expectations" / "users.html" in pages
    assert len([page for page in pages if "validations" in page.parts]) == 1
    assert not [page for page in pages if "somebody-private" in page.read_text(encoding="utf-8")]


def big_log(rows: int = 50_000) -> dict[str, Any]:
    time = np.datetime64(BEFORE.to_datetime64())
    return {
        "exposure_id": np.arange(rows).astype(str),
        "user_id": np.where(np.arange(rows) % 2, "u1", "u2"),
        "exposed_at": np.full(rows, time),
        "propensity": np.full(rows, 0.5),
        "user_known": np.full(rows, True),
    }


def test_a_sample_of_a_big_table_is_small_and_always_the_same():
    data = pa.table(big_log())
    first, again = (quality.suspicious_sample(data, "exposure_id", 1_000) for _ in range(2))
    assert first.equals(again)
    assert 900 <= first.num_rows <= 1_100


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("exposure_id", "17"),
        ("exposed_at", np.datetime64("2024-02-01")),
        ("propensity", 0.0),
        ("user_known", False),
    ],
)
def test_one_bad_row_in_a_big_table_is_in_the_sample(column: str, value: Any):
    log = big_log()
    log[column][43_211] = value
    sample = quality.suspicious_sample(pa.table(log), "exposure_id", 1_000).to_pandas()
    found = sample[column] == pd.Timestamp(value) if column == "exposed_at" else sample[column] == value
    assert found.sum() == (2 if column == "exposure_id" else 1)


def test_one_null_in_a_big_table_is_in_the_sample():
    log = big_log()
    users = log["user_id"].astype(object)
    users[43_211] = None
    sample = quality.suspicious_sample(pa.table(log | {"user_id": pa.array(users)}), "exposure_id", 1_000)
    assert sample["user_id"].null_count == 1


def test_counts_that_do_not_add_up_fail():
    good = pd.DataFrame({"table": ["users"] * 3, "reason": ["in", "kept", "duplicate"], "rows": [5, 3, 2]})
    require_balance(good)
    with pytest.raises(DataError, match="users"):
        require_balance(good.assign(rows=[5, 3, 1]))
