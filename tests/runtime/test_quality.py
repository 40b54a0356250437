"""A check leaves its pages and its record, also where it fails."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from jobs.runtime import pages, quality
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError, SetupError
from jobs.runtime.site import Outcome, Site

DAY = date(2024, 1, 8)


@pytest.fixture
def args(tmp_path: Path) -> JobArgs:
    site = Site(site="shop", outcome=Outcome(event_types=("purchase",)))
    return JobArgs(site, DAY, Environment(tmp_path, tmp_path, str(tmp_path / "lake"), {}))


def users(*ids: str | None) -> dict[str, pd.DataFrame]:
    return {"users": pd.DataFrame({"user_id": list(ids)})}


def test_a_check_that_holds_leaves_its_record_and_pages(args: JobArgs, capsys: pytest.CaptureFixture[str]):
    record = quality.check(args, "check_clean", users("u1", "u2"))
    assert record["results"] and all(one["success"] for one in record["results"])
    page = pages.checks_page(args.environment.home / "docs", "shop", DAY)
    assert page.as_uri() in capsys.readouterr().out
    assert f"{len(record['results'])} of {len(record['results'])} hold" in page.read_text(encoding="utf-8")
    assert Path(record["docs"]).exists()


def test_a_check_that_fails_leaves_its_pages_and_a_rerun_replaces_them(args: JobArgs):
    docs = args.environment.home / "docs"
    with pytest.raises(DataError, match=r"check_clean of shop, 2024-01-08: users\.user_id .* 2 of 2 rows fail"):
        quality.check(args, "check_clean", users("u1", "u1"))
    (night,) = pages.index_values(docs)["sites"]["shop"]
    assert night["tone"] == "bad" and "critical failed" in night["summary"]
    assert "What failed" in pages.checks_page(docs, "shop", DAY).read_text(encoding="utf-8")
    quality.check(args, "check_clean", users("u1", "u2"))
    (night,) = pages.index_values(docs)["sites"]["shop"]
    assert night["tone"] == "good"
    assert "What failed" not in pages.checks_page(docs, "shop", DAY).read_text(encoding="utf-8")


def test_a_page_of_great_expectations_is_linked_for_every_suite(args: JobArgs):
    quality.check(args, "check_clean", users("u1"))
    page = pages.checks_page(args.environment.home / "docs", "shop", DAY)
    (suite,) = pages.night_values(args.environment.home / "docs", "shop", DAY)["checks"][1]["suites"]
    assert (page.parent / suite["page"]).exists()


def test_a_table_without_a_suite_is_an_error():
    with pytest.raises(SetupError, match=r"no suite .*nothing\.json"):
        quality.load_suite("nothing")
