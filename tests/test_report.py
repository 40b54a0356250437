"""The report of a real small lake: what it says with everything there, with records missing, and with hostile text."""

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pytest

from jobs import evaluate_feedback, report
from jobs.runtime import pages
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site
from jobs.tables import contracts
from jobs.tables.lake import Lake
from jobs.tables.schema import Table
from tests import small_night
from tests.runtime.diagnoses import DIAGNOSIS, OFF_POLICY, figure
from tests.runtime.test_report_uplift import UPLIFT

DAY = date(2024, 1, 8)
MODEL = {"version": "3", "model_uri": "models:/shop-model/3", "sha256": "f" * 64}
RANKER = MODEL | {
    "metrics": {"ranker_ndcg_10": figure(0.4, 0.35, 0.45), "recency_ndcg_10": figure(0.3, 0.25, 0.35)},
    "calibration_curve": {"predicted": [0.01, 0.3], "found": [0.02, 0.28], "low": [0.01, 0.25], "high": [0.03, 0.31]},
}
GATE = {
    "passed": True,
    "warnings": DIAGNOSIS["warnings"],
    "checks": [{"name": "qini", **figure(0.01, 0.005, 0.02), "threshold": 0.0, "passed": True, "meaning": "it works"}],
}
FEEDBACK = {
    "versions": [
        {
            "version_id": "01234567",
            "run_date": "2024-01-01",
            "figures": {"outcome_rate_explore_1": figure(0.04, 0.02, 0.06)},
            "lift": None,
            "why": "it was not shown",
        }
    ],
    "running": {
        "since": "2024-01-01",
        "users": 1000,
        "held_out": 50,
        "figures": {"lift_running": figure(0.12, 0.01, 0.23)},
        "labels": {},
    },
    "unknown": ["explore_share is 0: no slot is random."],
}
PUBLISHED = {"state": "published", "verdict": "effects proved: adjusted lists", "rows": "8", "checksum": "c" * 64}
DRIFT = {
    "nights": ["2024-01-01"],
    "shifts": [{"column": "vote", "psi": 0.31, "chance": 0.01, "beyond": 0.3, "rows": 900, "reference": 900}],
    "metrics": {},
}
RECORDS: dict[str, Any] = {
    "drift": DRIFT,
    "uplift": MODEL | UPLIFT,
    "ranker": RANKER,
    "effects_gate": GATE,
    "feedback": FEEDBACK,
    "chosen_ranker": small_night.choice("challenger") | MODEL,
    "chosen_uplift": small_night.choice("challenger") | MODEL,
    "diagnosis": DIAGNOSIS,
    "off_policy": OFF_POLICY,
}


def rows(table: Table, *given: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(
        [dict.fromkeys(table.columns) | row for row in given], schema=pa.schema(list(table.arrow_schema))
    )


def write_night(args: JobArgs, version: str, title: str = "Whole milk") -> None:
    """Everything the report reads of one night."""
    small_night.write(args, version, args.date)
    lake = Lake(args)
    plain = [
        {"user_id": f"u{user}", "rank": rank, "item_id": f"i{3 - rank}", "relevance": 0.5 / rank}
        for user in range(4)
        for rank in (1, 2)
    ]
    lake.write_arrow(contracts.RELEVANCE_LISTS, rows(contracts.RELEVANCE_LISTS, *plain))
    effect = dict(estimate=0.02, low=0.01, high=0.03, treated=90, control=100, overlap_share=0.9, identified=True)
    lake.write_arrow(
        contracts.ITEM_EFFECTS,
        rows(
            contracts.ITEM_EFFECTS,
            {"level": "all", "key": "all", "method": "aipw"} | effect,
            {"level": "category", "key": "milk & <b>eggs</b>", "method": "pooled"} | effect,
            {"level": "segment", "key": "0 many", "method": "aipw"} | effect,
            {"level": "segment_category", "key": '["0 many", "milk"]', "method": "aipw"} | effect,
        ),
    )
    items = [{"item_id": name, "category": "milk", "title": title} for name in ("i1", "i2")]
    lake.write_arrow(contracts.ITEMS, rows(contracts.ITEMS, *items))
    kept = [{"table": "users", "reason": reason, "rows": number} for reason, number in (("in", 1234), ("kept", 1234))]
    lake.write_arrow(contracts.CLEAN_COUNTS, rows(contracts.CLEAN_COUNTS, *kept))
    for table in report.INPUTS:
        lake.write_arrow(table, rows(table), covers=(args.date - timedelta(7), args.date))
    for name, record in RECORDS.items():
        lake.write_json(name, record)
    lake.write_json("published", PUBLISHED | {"version_id": version})


@pytest.fixture
def args(tmp_path: Path) -> JobArgs:
    site = Site(site="shop", outcome=Outcome(event_types=("purchase",)))
    return JobArgs(site, DAY, Environment(tmp_path, tmp_path, str(tmp_path / "lake"), {}))


def page(args: JobArgs) -> str:
    return pages.render("report.html.j2", report.collect(args, Lake(args)))


def test_a_full_page_says_what_was_decided_published_estimated_and_how_to_roll_back(args: JobArgs):
    write_night(args, "abcdef12")
    text = page(args)
    assert "Not computed" not in text and "Not drawn" not in text
    for words in (
        "Published: the effects passed every check",
        "+10.00 pp (90 % interval +8.00 to +12.00 pp)",
        "abcdef12",
        "c" * 16,
        "there is none",
        "Whole milk",
        "0.3500 to 0.4500",
        "finds no effect where there is none",
        "1,234",
        "01234567",
        "No measured lift: it was not shown.",
        "50 of 1,000 users have kept the relevance list",
        "0.0100 to 0.2300",
        "explore_share is 0: no slot is random.",
        "models:/shop-model/3",
        "2024-01-01 to before 2024-01-08",
        "the effect is identified: the log has a fair comparison",
        "8 places in the lists of 3 users",
        "python -m jobs rollback --site shop",
        "challenger by the gate; it won",
        "Adjusted for: earlier showing",
        "AIPW and item mean difference disagree",
        "factor of up to 1.10",
        "better than the site's learner beyond chance: R-learner",
        "category is &lt;milk&gt;? yes:",
        "ranking by effect brings more than ranking by relevance",
        "1 of 1 columns are beyond 0.1: vote 0.31 (chance 0.01).",
        "12.5 % (90 % interval 10.0 to 15.0 %) have an interval above zero of their own",
        "+4.00 to +6.00 pp): that is proved.",
        "In none of 1 segments does showing take outcomes away",
        "place 1 0.0400 (90 % interval 0.0200 to 0.0600)",
    ):
        assert words in text, words
    assert text.count("<svg") == text.count('role="img"') == text.count("How to read it:") == 16


@pytest.mark.parametrize(
    "name",
    [
        "uplift",
        "ranker",
        "effects_gate",
        "feedback",
        "diagnosis",
        "off_policy",
        "published",
        "item_effects",
        "clean_counts",
        "items",
        "chosen_ranker",
        "drift",
    ],
)
def test_a_missing_record_is_named_and_the_rest_of_the_page_stands(args: JobArgs, name: str):
    write_night(args, "abcdef12")
    (Path(args.environment.lake) / "shop" / name / f"run_date={DAY}" / "manifest.json").unlink()
    text = page(args)
    assert f"{name} of 2024-01-08 is not in the lake" in text
    assert 1 <= text.count("is not in the lake") <= 5
    assert "python -m jobs rollback" in text


def test_a_lake_without_the_night_gives_a_page_without_a_figure(args: JobArgs):
    text = page(args)
    assert text.count("is not in the lake") >= 15
    assert text.count("<svg") == 1 and "0.0000" not in text  # the graph follows from the site alone


def test_the_version_before_is_the_newest_that_was_really_published(args: JobArgs):
    for days, version, state in ((14, "aaaaaaa1", "published"), (7, "aaaaaaa2", "published"), (3, "aaaaaaa3", "kept")):
        night = replace(args, date=DAY - timedelta(days))
        write_night(night, version)
        Lake(night).write_json("published", PUBLISHED | {"version_id": version, "state": state})
    write_night(args, "abcdef12")
    assert Lake(args).published_before() == (DAY - timedelta(7), "aaaaaaa2")
    text = page(args)
    assert "version aaaaaaa2 of 2024-01-01" in text and "0.0 % hold another item" in text


@pytest.mark.parametrize(
    ("off", "said"),
    [
        ({}, []),
        ({"holdout_share": 0.0}, ["what the lists add cannot be measured"]),
        ({"explore_share": 0.0}, ["what an item does that is never shown cannot be known; overlap falls"]),
        (
            {"holdout_share": 0.0, "explore_share": 0.0},
            ["what the lists add cannot be measured", "what an item does that is never shown cannot be known"],
        ),
    ],
)
def test_a_switch_that_is_off_makes_the_page_say_what_cannot_be_known(
    args: JobArgs, off: dict[str, float], said: list[str]
):
    args = replace(args, site=args.site.model_copy(update=off))
    write_night(args, "abcdef12")
    Lake(args).write_json("feedback", FEEDBACK | {"unknown": evaluate_feedback.unknown(args)})
    text = page(args)
    assert all(words in text for words in said)
    assert text.count("_share is 0") == len(off)


def test_a_failed_gate_and_a_dry_run_are_said_in_the_first_sentence(args: JobArgs):
    write_night(args, "abcdef12")
    Lake(args).write_json("chosen_uplift", small_night.choice("relevance"))
    Lake(args).write_json("effects_gate", {"passed": False, "checks": [], "warnings": []})
    Lake(args).write_json("published", {"state": "dry run", "verdict": "effects NOT proved"})
    text = page(args)
    assert "Dry run, nothing published: the effects were not proved tonight" in text
    assert "is estimated to add" not in text


def test_the_page_needs_nothing_from_elsewhere_and_text_of_the_data_is_escaped(args: JobArgs):
    write_night(args, "abcdef12", title="<script>alert(1)</script>")
    text = page(args)
    for word in ("<script", "<link", "<img", "@import", 'src="', "<b>eggs"):
        assert word not in text, word
    assert "&lt;script&gt;" in text and "milk &amp; &lt;b&gt;eggs" in text


def test_the_same_night_gives_the_same_bytes(args: JobArgs):
    write_night(args, "abcdef12")
    assert page(args) == page(args)


def test_the_job_writes_the_page_to_disk_and_to_mlflow_and_lists_the_night(
    job: JobArgs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("NIGHTLIFT_HOME", str(tmp_path / "home"))
    write_night(job, "abcdef12")
    assert report.main(["--site", job.site.site, "--date", job.date.isoformat()]) == 0
    docs = tmp_path / "home" / "docs"
    written = pages.report_page(docs, job.site.site, job.date)
    assert written.as_uri() in capsys.readouterr().out
    (night,) = pages.index_values(docs)["sites"][job.site.site]
    assert night["report"] == written.relative_to(docs).as_posix()
    assert night["verdict"].startswith("Published: the effects passed every check")
    (run,) = mlflow.MlflowClient().search_runs(
        [experiment := mlflow.get_experiment_by_name(job.site.site).experiment_id], "tags.level = 'night'"
    )
    (made_by,) = set(Lake(job).read_arrow(contracts.RECOMMENDATIONS)["mlflow_run_id"].to_pylist())
    copy = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/report.html")
    assert links(written.read_text(encoding="utf-8")) - links(copy) == {
        "../../index.html",
        job.environment.mlflow_run(made_by, experiment),
        *(
            f"../../data_docs/{job.site.site}/2024-01-08/index.html{part}"
            for part in ("", *(f"#{name}" for name in pages.CHECKS))
        ),
    }
    assert links(copy) == {f"#{id_}" for id_ in headings(copy)}, "in MLflow nothing lies beside the page"
    assert copy.count("<svg") == 16 and "linked from Effects" in copy


def test_the_contents_lead_to_every_heading_in_order(args: JobArgs):
    write_night(args, "abcdef12")
    text = page(args)
    (contents,) = re.findall(r'<ul class="contents">(.*?)</ul>', text)
    assert re.findall(r'<a href="#(\w+)">([^<]+)</a>', contents) == list(headings(text).items())
    assert {"published", "gate", "harmed", "judged", "lineage", "rollback"} <= headings(text).keys()


def headings(text: str) -> dict[str, str]:
    """Second-level headings by their ids."""
    return dict(re.findall(r'<h2 id="(\w+)">([^<]+)</h2>', text))


def links(text: str) -> set[str]:
    return set(re.findall(r'<a [^>]*href="([^"]*)"', text))
