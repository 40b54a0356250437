"""The examples of docs/feedback.md, run as they stand: what a client sends back arrives in the lake whole."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from jobs import extract
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.site import Site
from jobs.tables import versions, warehouse
from jobs.tables.contracts import RAW_EXPOSURES, RAW_INTERACTIONS
from jobs.tables.lake import Lake
from jobs.tables.load import load_folder
from tests.small_night import beside, lists

VERSION, PUBLISHED, NIGHT = "0123abcd", date(2024, 1, 8), date(2024, 1, 11)
WEIGHTS = {"like": 1.0, "dislike": -1.0, "rating": 1.0, "comment": 0.5, "complete": 0.5}


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "feedback.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def args(warehouse: Environment, shop: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobArgs:
    """A shop that has published one version, before anybody was shown anything."""
    files = {
        "users": "user_id\n" + "".join(f"u{n}\n" for n in range(4)),
        "items": "item_id,category\ni1,bread\ni2,sweets\n",
        "interactions": "event_id,user_id,item_id,event_type,event_ts\ne1,u0,i1,purchase,2024-01-01T10:00:00Z\n",
        "exposures": "exposure_id,user_id,item_id,exposed_at\nx1,u0,i1,2024-01-01T09:00:00Z\n",
    }
    for name, body in files.items():
        (tmp_path / f"{name}.csv").write_text(body, encoding="utf-8")
    site = shop.model_copy(update={"feedback": WEIGHTS})
    load_folder(site, tmp_path, warehouse)
    versions.publish(site, warehouse, lists(VERSION, PUBLISHED), beside(), "proved")
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(site.model_dump(mode="json")), encoding="utf-8")
    monkeypatch.setenv("WAREHOUSE_URL", warehouse.warehouse_url)
    monkeypatch.setenv("NIGHTLIFT_SITES", str(tmp_path))
    monkeypatch.setenv("NIGHTLIFT_LAKE", str(tmp_path / "lake"))
    return JobArgs(site, NIGHT, replace(warehouse, sites=tmp_path, lake=str(tmp_path / "lake")))


def extracted(args: JobArgs) -> tuple[dict[str, dict[str, object]], dict[str, dict[str, object]]]:
    """Exposures and events of the night by their ids."""
    assert extract.main(["--site", "shop", "--date", NIGHT.isoformat()]) == 0
    lake = Lake(args)
    shown, done = (lake.read_arrow(table).to_pylist() for table in (RAW_EXPOSURES, RAW_INTERACTIONS))
    return {str(row["exposure_id"]): row for row in shown}, {str(row["event_id"]): row for row in done}


def test_the_sql_of_the_page_brings_version_policy_and_propensity_of_the_list(args: JobArgs) -> None:
    schemas = args.site.warehouse
    statements = blocks("sql")
    assert len(statements) == 2
    with warehouse.connect(args.environment) as connection:
        for statement in statements:
            named = re.sub(r"\braw\.", f"{schemas.raw_schema}.", statement)
            connection.execute(re.sub(r"\bmart\.", f"{schemas.mart_schema}.", named).encode())
    shown, done = extracted(args)
    listed = {row["item_id"]: row for row in lists(VERSION, PUBLISHED).to_pylist() if row["user_id"] == "u0"}
    assert set(shown) == {"x1", "home-7f3a-1", "home-7f3a-2"}
    for name in ("home-7f3a-1", "home-7f3a-2"):
        copied = listed[shown[name]["item_id"]]
        assert {key: shown[name][key] for key in ("version_id", "policy", "propensity")} == {
            key: copied[key] for key in ("version_id", "policy", "propensity")
        }
        assert shown[name]["position"] == copied["rank"]
    types = {str(row["event_type"]) for name, row in done.items() if name != "e1"}
    assert types == {"click", "purchase", "like", "rating", "comment"}


def test_the_files_of_the_page_load_as_they_stand(args: JobArgs, tmp_path: Path) -> None:
    exposures, interactions = blocks("csv")
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "exposures.csv").write_text(exposures, encoding="utf-8")
    (folder / "interactions.csv").write_text(interactions, encoding="utf-8")
    assert load_folder(args.site, folder, args.environment) == {"exposures": 2, "interactions": 3}
    shown, done = extracted(args)
    assert (shown["mail-0112-2"]["policy"], shown["mail-0112-2"]["propensity"]) == ("explore", 0.0333)
    assert (done["mail-0112-e2"]["rating"], done["mail-0112-e3"]["text"]) == (5.0, "Great, thanks!")


def test_the_page_names_every_column_of_the_log_and_weights_a_site_takes() -> None:
    text = (ROOT / "docs" / "feedback.md").read_text(encoding="utf-8")
    exposures = blocks("csv")[0].splitlines()[0].split(",")
    assert exposures == RAW_EXPOSURES.names
    line = next(line for line in text.splitlines() if line.startswith("    feedback: "))
    assert yaml.safe_load(line) == {"feedback": {name: pytest.approx(weight) for name, weight in WEIGHTS.items()}}
