"""A check leaves its pages and its record, also where it fails."""

import re
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


def test_a_page_of_great_expectations_asks_no_other_server_and_says_in_words_what_holds(args: JobArgs):
    with pytest.raises(DataError):
        quality.check(args, "check_clean", users("u1", "u1"))
    folder = pages.check_folder(args.environment.home / "docs", "shop", DAY, "check_clean")
    made = {page: page.read_text(encoding="utf-8") for page in folder.rglob("*.html")}
    assert {page.relative_to(folder).parts[0] for page in made} == {"validations", "expectations"}
    for page, text in made.items():
        assert not re.search(r"<(script|link|img|iframe)\b|url\(|@import", text), page
        assert text.lstrip().startswith('<!DOCTYPE html>\n<html lang="en">'), page
        homes = set(re.findall(r'href="([^"]*index\.html#check_clean)"', text))
        assert homes and all((page.parent / home.partition("#")[0]).resolve().exists() for home in homes), page
    (results,) = (text for page, text in made.items() if page.is_relative_to(folder / "validations"))
    assert "<strong>holds</strong>" in results and "<strong>fails</strong>" in results


def test_a_table_without_a_suite_is_an_error():
    with pytest.raises(SetupError, match=r"no suite .*nothing\.json"):
        quality.load_suite("nothing")
