"""The job on a real lake: feedback of the night read in a process of its own, every row kept or counted by reason."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from jobs import extract
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.site import Site
from jobs.tables import contracts
from jobs.tables.lake import Lake
from jobs.tables.load import load_folder

NIGHT = date(2024, 1, 9)
SAID = """event_id,user_id,item_id,event_type,event_ts,rating,text
e1,u1,i1,purchase,2024-01-01T10:00:00Z,,
v1,u1,i1,like,2024-01-02T10:00:00Z,,
v2,u1,i1,dislike,2024-01-02T11:00:00Z,,
r1,u2,i1,rating,2024-01-02T11:00:00Z,5,
r2,u2,i2,rating,2024-01-02T11:00:00Z,9,
c1,u2,i2,comment,2024-01-03T10:00:00Z,,I love it
c2,u1,i2,comment,2024-01-03T10:00:00Z,,Es liegt im Regal
c3,u1,i2,comment,2024-01-03T11:00:00Z,,
"""


@pytest.fixture
def lake(warehouse: Environment, shop: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The lake of a night whose raw rows are extracted and cleaned."""
    weights = {"like": 1.0, "dislike": -1.0, "rating": 1.0, "comment": 0.5}
    site = shop.model_copy(update={"feedback": weights})
    (folder / "interactions.csv").write_text(SAID, encoding="utf-8")
    load_folder(site, folder, warehouse)
    (folder / "shop.yaml").write_text(yaml.safe_dump(site.model_dump(mode="json")), encoding="utf-8")
    given = {
        "WAREHOUSE_URL": warehouse.warehouse_url,
        "NIGHTLIFT_SITES": str(folder),
        "NIGHTLIFT_LAKE": str(folder / "lake"),
        "PYTHONPATH": str(ROOT),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for name in ("SPARK_REMOTE", "SPARK_ENV_LOADED"):
        monkeypatch.delenv(name, raising=False)
    words = ["--site", "shop", "--date", NIGHT.isoformat()]
    assert extract.main(words) == 0
    command = [sys.executable, "-m", "jobs.clean", *words]
    done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return Lake(JobArgs(site, NIGHT, replace(warehouse, sites=folder, lake=str(folder / "lake"))))


def test_votes_are_counted_ratings_scaled_comments_read_and_the_rest_kept_with_its_reason(lake: Lake) -> None:
    rows = {row["event_id"]: row for row in lake.read_arrow(contracts.INTERACTIONS).to_pylist()}
    assert set(rows) == {"e1", "v2", "r1", "c1", "c2"}
    assert (rows["v2"]["votes"], rows["r1"]["votes"], rows["e1"]["votes"]) == (2, 1, None)
    assert rows["r1"]["valence"] == 1.0 and rows["c1"]["valence"] > 0.5
    assert rows["c2"]["valence"] is None, "no word of it is in the lexicon"
    assert rows["e1"]["valence"] is rows["v2"]["valence"] is None
    lost = {row["key"]: row["reason"] for row in lake.read_arrow(contracts.QUARANTINE).to_pylist()}
    assert lost == {"v1": "overruled_vote", "r2": "impossible_rating", "c3": "empty_comment"}
    counts = {
        row["reason"]: row["rows"]
        for row in lake.read_arrow(contracts.CLEAN_COUNTS).to_pylist()
        if row["table"] == "interactions"
    }
    assert counts == {"in": 8, "kept": 5, "overruled_vote": 1, "impossible_rating": 1, "empty_comment": 1}
