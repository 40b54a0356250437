"""What a job is called with: what cannot be, or would mean nothing, is one line before it starts."""

from datetime import date
from pathlib import Path

import pytest

from jobs.runtime.args import JobArgs, check_choices
from jobs.runtime.errors import SetupError

SHOP = """site: shop
outcome: {event_types: [purchase]}
"""
HIDDEN = """effects:
  graph:
    edges: [shown -> outcome, taste -> shown, taste -> outcome, item_price -> outcome]
    latent: [taste]
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The site file."""
    monkeypatch.setenv("NIGHTLIFT_SITES", str(tmp_path))
    (tmp_path / "shop.yaml").write_text(SHOP, encoding="utf-8")
    return tmp_path / "shop.yaml"


def parse(*flags: str, day: str = "2024-01-08") -> JobArgs:
    return JobArgs.parse(["--site", "shop", "--date", day, *flags])


def test_site_and_date_are_parsed() -> None:
    args = parse("--force")
    assert (args.site.site, args.date, args.force, args.dry_run) == ("shop", date(2024, 1, 8), True, False)


@pytest.mark.parametrize("day", ["tomorrow", "2024-13-01"])
def test_a_day_that_is_none_is_refused(day: str) -> None:
    with pytest.raises(SetupError, match=f"'{day}' is not a day"):
        parse(day=day)


def test_a_graph_that_leaves_a_path_open_is_refused_with_the_path(shop: Path) -> None:
    shop.write_text(SHOP + HIDDEN, encoding="utf-8")
    with pytest.raises(SetupError, match="shown <- taste -> outcome stays open"):
        parse()


def test_a_night_without_choices_leaves_them_to_the_gates() -> None:
    assert (parse().choices, parse().reason) == ({}, "")


def test_a_choice_comes_with_its_reason() -> None:
    made = parse("--choose-ranker=champion", "--choose-uplift=relevance", "--reason= a sale began ")
    assert made.choices == {"ranker": "champion", "uplift": "relevance"}
    assert made.reason == "a sale began"


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_choice_without_a_reason_is_refused(reason: str) -> None:
    with pytest.raises(SetupError, match="need --reason"):
        check_choices({"uplift": "challenger"}, reason)


@pytest.mark.parametrize(("model", "choice"), [("ranker", "relevance"), ("uplift", "latest")])
def test_a_choice_there_is_not_is_refused(model: str, choice: str) -> None:
    with pytest.raises(SetupError, match=f"--choose-{model} '{choice}': there is challenger, champion"):
        check_choices({model: choice}, "because")
