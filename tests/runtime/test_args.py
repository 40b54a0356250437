"""A job is refused before it starts where its night would mean nothing."""

from datetime import date
from pathlib import Path

import pytest

from jobs.runtime.args import JobArgs
from jobs.runtime.errors import SetupError

SHOP = """site: shop
outcome: {event_types: [purchase]}
"""
HIDDEN = """effects:
  graph:
    edges: [shown -> outcome, taste -> shown, taste -> outcome, item_price -> outcome]
    latent: [taste]
"""
ARGUMENTS = ["--site", "shop", "--date", "2024-01-08"]


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NIGHTLIFT_SITES", str(folder))
    (folder / "shop.yaml").write_text(text, encoding="utf-8")


def test_site_and_date_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, monkeypatch, SHOP)
    args = JobArgs.parse([*ARGUMENTS, "--force"])
    assert (args.site.site, args.date, args.force, args.dry_run) == ("shop", date(2024, 1, 8), True, False)
    with pytest.raises(SetupError, match="'tomorrow' is not a day"):
        JobArgs.parse(["--site", "shop", "--date", "tomorrow"])


def test_a_graph_that_leaves_a_path_open_is_refused_with_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, monkeypatch, SHOP + HIDDEN)
    with pytest.raises(SetupError, match="shown <- taste -> outcome stays open"):
        JobArgs.parse(ARGUMENTS)
