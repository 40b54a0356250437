"""The pages of a night and of all nights: what they link, count and order; the same files give the same page."""

import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from jobs.runtime import pages

ROOT = Path(__file__).resolve().parents[2]
DAY = date(2024, 1, 8)


def result(table: str, success: bool = True, severity: str = "critical") -> dict[str, Any]:
    return {"table": table, "severity": severity, "success": success, "column": "user_id", "note": "why"}


def keep(docs: Path, check: str, results: list[dict[str, Any]], day: date = DAY, site: str = "shop") -> None:
    folder = pages.check_folder(docs, site, day, check)
    for table in {one["table"] for one in results}:
        page = folder / "validations" / table / "run" / f"lake-{table}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("expectations")
    pages.record_check(folder, results, [f"line {place} <b> (why)" for place in range(len(results))])


class Links(HTMLParser):
    """Addresses of a page's links."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def assert_links_lead_somewhere(page: Path) -> None:
    found = Links(page).found
    assert found
    for link in found:
        assert (page.parent / link.partition("#")[0]).exists(), f"{page}: {link}"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    keep(tmp_path, "check_raw", [result("raw_users"), result("raw_items", False, "warning")])
    keep(tmp_path, "check_recommendations", [result("recommendations", False), result("user_features")])
    pages.record_report(tmp_path, "shop", DAY, "<html>", "everyone has the relevance list")
    pages.rebuild(tmp_path, "shop", DAY)
    return tmp_path


def test_every_link_leads_to_a_page(docs: Path):
    for page in (docs / "index.html", pages.checks_page(docs, "shop", DAY)):
        assert_links_lead_somewhere(page)


def test_checks_are_in_the_order_of_the_night_and_one_that_did_not_run_says_so(docs: Path):
    values = pages.night_values(docs, "shop", DAY)
    assert [check["name"] for check in values["checks"]] == ["check_raw", "check_clean", "check_recommendations"]
    assert [bool(check["suites"]) for check in values["checks"]] == [True, False, True]
    assert pages.checks_page(docs, "shop", DAY).read_text().count("Has not run for this night") == 1


def test_expectations_are_counted_by_suite_and_severity(docs: Path):
    raw, _, lists = pages.night_values(docs, "shop", DAY)["checks"]
    assert [(suite["name"], suite["counts"]) for suite in raw["suites"]] == [
        ("raw_users", {"critical": {"held": 1, "failed": 0}, "warning": {"held": 0, "failed": 0}}),
        ("raw_items", {"critical": {"held": 0, "failed": 0}, "warning": {"held": 0, "failed": 1}}),
    ]
    assert (raw["tone"], lists["tone"]) == ("warn", "bad")
    assert lists["summary"] == "1 of 2 hold, 1 critical failed"
    assert lists["failures"] == [
        {
            "table": "recommendations",
            "severity": "critical",
            "success": False,
            "note": "why",
            "line": "line 0 <b> (why)",
        }
    ]
    text = pages.checks_page(docs, "shop", DAY).read_text()
    assert "line 0 &lt;b&gt;" in text
    assert "What user_features is checked for" in text  # also what holds is said in words
    assert '<span class="good">holds</span>, critical: line 1 &lt;b&gt;. A failure would mean: why' in text


def test_nights_are_by_site_and_newest_first_with_verdict_and_counts(docs: Path):
    keep(docs, "check_raw", [result("raw_users")], date(2024, 1, 9))
    keep(docs, "check_raw", [result("raw_users")], date(2023, 1, 1), "another")
    values = pages.index_values(docs)["sites"]
    assert {site: [night["date"] for night in nights] for site, nights in values.items()} == {
        "another": ["2023-01-01"],
        "shop": ["2024-01-09", "2024-01-08"],
    }
    newest, older = values["shop"]
    assert newest["verdict"] is None and newest["report"] is None and newest["summary"] == "1 of 1 hold"
    assert older["verdict"] == "everyone has the relevance list"
    assert older["summary"] == "2 of 4 hold, 1 critical failed, 1 warning failed" and older["tone"] == "bad"


def test_a_rebuild_gives_the_same_bytes_and_leaves_no_other_file(docs: Path):
    before = {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}
    pages.rebuild(docs, "shop", DAY)
    assert {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()} == before


def test_without_a_night_the_page_says_how_to_get_one(tmp_path: Path):
    assert "make run" in pages.render("index.html.j2", pages.index_values(tmp_path))


@pytest.mark.parametrize("template", ["index.html.j2", "data_docs.html.j2"])
def test_pages_need_nothing_from_elsewhere(docs: Path, template: str):
    values = pages.index_values(docs) if template == "index.html.j2" else pages.night_values(docs, "shop", DAY)
    page = pages.render(template, values)
    for word in ("<script", "<link", "<img", "@import", "http://", "https://"):
        assert word not in page, word
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_a_table_scrolls_in_a_box_of_its_own_or_becomes_cards_where_the_window_is_narrow() -> None:
    """The browser tests hold that no page of a night is wider than 390 pixels; this is so for tables it has not."""
    box = re.compile(r'<div class="scroll" role="region" aria-label="[^>]+" tabindex="0">$')
    found = 0
    for template in [*ROOT.glob("jobs/templates/*.j2"), *ROOT.glob("plugins/nightlift/templates/*.j2")]:
        before, *after = re.split(r"(<table[^>]*>)", template.read_text(encoding="utf-8"))
        for table, rest in zip(after[::2], after[1::2], strict=True):
            assert table == '<table class="cards">' or box.search(before), f"{template.name}: {table}"
            before, found = rest, found + 1
    assert found > 20
