"""The job that publishes: what moves in the warehouse, in the registry and on the night's run, and what does not."""

from datetime import date
from typing import Any

import mlflow
import pandas as pd
import pytest
from psycopg import sql

from jobs import publish
from jobs.runtime import registry, tracking
from jobs.runtime.args import JobArgs
from jobs.runtime.errors import DataError
from jobs.runtime.registry import Card
from jobs.tables import mart, versions, warehouse
from jobs.tables.lake import Lake
from tests.small_night import HEADLINE, write

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)
PROVED = "effects proved: adjusted lists"


@pytest.fixture(autouse=True)
def models(job: JobArgs) -> None:
    """Two registered versions of both models."""
    card = Card("what.", "when.", {}, pd.DataFrame({"x": [0.0]}), "effect")
    with tracking.nested_run(job, "training") as run_id:
        for model in ("ranker", "uplift"):
            for content in (b"one", b"two"):
                registry.register(job, model, {"model.ubj": content}, run_id, card)


def run(job: JobArgs, *flags: str) -> None:
    assert publish.main(["--site", job.site.site, "--date", job.date.isoformat(), *flags]) == 0


def champion(job: JobArgs, model: str) -> tuple[str | None, str | None]:
    """Versions with the aliases champion and previous."""
    found = mlflow.MlflowClient().get_registered_model(f"{job.site.site}-{model}").aliases
    return found.get("champion"), found.get("previous")


def parent(job: JobArgs) -> mlflow.entities.Run:
    return mlflow.MlflowClient().get_run(tracking.night_run(job))


def nested(job: JobArgs) -> mlflow.entities.Run:
    """The newest nested run called publish."""
    wanted = f"tags.`mlflow.parentRunId` = '{parent(job).info.run_id}' and attributes.run_name = 'publish'"
    found = mlflow.MlflowClient().search_runs([parent(job).info.experiment_id], wanted, max_results=1)
    return found[0]


def loaded(job: JobArgs) -> dict[str, Any]:
    """Whether each version in the warehouse was ever published."""
    with warehouse.connect(job.environment) as connection:
        schema = job.site.warehouse.mart_schema
        if not warehouse.column_types(connection, schema, "versions"):
            return {}
        table = sql.Identifier(schema, "versions")
        query = sql.SQL("SELECT version_id, published_at IS NOT NULL FROM {}").format(table)
        return dict(warehouse.execute(connection, query))


def test_publishing_makes_the_models_of_the_lists_champions(job: JobArgs) -> None:
    night = write(job, "aaaaaaaa", MONDAY)
    run(night)
    assert champion(job, "ranker") == champion(job, "uplift") == ("1", None)
    assert loaded(job) == {"aaaaaaaa": True}
    with mart.read(job.site, job.environment) as found:
        shown = found.published() if found else None
    assert shown and shown["mlflow_experiment_id"] == parent(night).info.experiment_id
    assert Lake(night).read_json("published")["state"] == "published"


def test_the_champion_before_becomes_previous(job: JobArgs) -> None:
    run(write(job, "aaaaaaaa", MONDAY))
    run(write(job, "bbbbbbbb", TUESDAY, uplift="2"))
    assert champion(job, "uplift") == ("2", "1")
    assert champion(job, "ranker") == ("1", None)


def test_with_a_failed_gate_only_the_ranker_is_champion(job: JobArgs) -> None:
    night = write(job, "aaaaaaaa", MONDAY, uplift=None)
    run(night)
    assert champion(job, "ranker") == ("1", None)
    assert champion(job, "uplift") == (None, None)
    assert parent(night).data.tags["verdict"] == "effects NOT proved: relevance lists for everyone"


def test_the_night_has_its_headline_and_the_nested_run_rows_and_checksum(job: JobArgs) -> None:
    night = write(job, "aaaaaaaa", MONDAY)
    run(night)
    (status,) = versions.status(night.site, night.environment)
    found, under = parent(night), nested(night)
    for name in publish.HEADLINE:
        value, low, high = HEADLINE[name]
        assert found.data.metrics[name] == value
        assert found.data.metrics.get(f"{name}_low") == low
        assert found.data.metrics.get(f"{name}_high") == high
    assert "users" not in found.data.metrics
    assert found.info.status == "FINISHED"
    tags = found.data.tags
    assert (tags["version_id"], tags["verdict"], tags["state"]) == ("aaaaaaaa", PROVED, "published")
    assert tags["mlflow.note.content"] == f"published: version aaaaaaaa of {MONDAY}, 8 rows; {PROVED}"
    assert under.data.metrics == {"rows": 8.0}
    assert under.data.tags["checksum"].startswith(status["checksum"]) and under.data.tags["version_id"] == "aaaaaaaa"


def test_a_dry_run_moves_nothing_and_says_what_it_would_publish(job: JobArgs) -> None:
    night = write(job, "aaaaaaaa", MONDAY)
    run(night, "--dry-run")
    assert loaded(job) == {}
    assert champion(job, "ranker") == champion(job, "uplift") == (None, None)
    checksum = nested(night).data.tags["checksum"]
    assert parent(night).data.tags["state"] == "dry run"
    run(night)
    assert nested(night).data.tags["checksum"] == checksum


def test_a_dry_run_of_a_night_that_came_out_otherwise_says_so(job: JobArgs) -> None:
    run(write(job, "aaaaaaaa", MONDAY))
    other = write(job, "aaaaaaaa", MONDAY, score=0.25)
    with pytest.raises(DataError, match="the night is not deterministic"):
        run(other, "--dry-run")
    assert loaded(job) == {"aaaaaaaa": True}


def test_an_older_night_is_loaded_but_moves_no_alias(job: JobArgs) -> None:
    run(write(job, "bbbbbbbb", TUESDAY, uplift="2"))
    older = write(job, "aaaaaaaa", MONDAY)
    run(older)
    assert champion(job, "uplift") == ("2", None)
    assert loaded(job) == {"bbbbbbbb": True, "aaaaaaaa": False}
    assert parent(older).data.tags["state"] == "kept"
    run(older, "--force")
    assert champion(job, "uplift") == ("1", "2")
    assert loaded(job)["aaaaaaaa"]


def test_the_same_night_again_changes_no_alias(job: JobArgs) -> None:
    run(write(job, "aaaaaaaa", MONDAY))
    night = write(job, "bbbbbbbb", TUESDAY, uplift="2")
    run(night)
    run(night)
    assert champion(job, "uplift") == ("2", "1")
    assert parent(night).data.tags["state"] == "unchanged"


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_a_failed_audit_publishes_nothing_and_fails_the_night_and_its_rehearsal(
    job: JobArgs, flags: tuple[str, ...]
) -> None:
    night = write(job, "aaaaaaaa", MONDAY, score=float("nan"))
    with pytest.raises(DataError, match="not a finite number"):
        run(night, *flags)
    assert loaded(job) == {}
    assert champion(job, "ranker") == (None, None)
    assert (parent(night).info.status, nested(night).info.status) == ("FAILED", "FAILED")
