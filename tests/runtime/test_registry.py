"""Model versions on the project's own MLflow server: what they hold, say and refuse."""

import os
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import Model

from jobs.models import ranker
from jobs.models.metrics import Estimate
from jobs.runtime import registry, tracking
from jobs.runtime.args import JobArgs
from jobs.runtime.choices import Registered
from jobs.runtime.errors import DataError
from jobs.runtime.registry import Card, load_checked, promote, typical_rows
from jobs.tables import versions
from tests.small_night import beside, lists

FILES = {"ranker.ubj": b"booster", "recipe.json": b"{}"}
EXAMPLE = pd.DataFrame({"from_repeat": [True, False], "days_since_last": np.array([3.0, np.nan], np.float32)})
CARD = Card(
    "probability of a purchase.",
    "10 rows of 2024-01-01; nothing dated on or after 2024-01-08.",
    {"ndcg": Estimate(0.4, 0.35, 0.45), "brier": 0.1, "average_effect": Estimate(0.01, 0.005, 0.015)},
    EXAMPLE,
    "relevance",
)


def register(job: JobArgs, files: dict[str, bytes] = FILES) -> Registered:
    with tracking.nested_run(job, "ranker") as run_id:
        return registry.register(job, "ranker", files, run_id, CARD)


def version(job: JobArgs, made: Registered) -> mlflow.entities.model_registry.ModelVersion:
    return mlflow.MlflowClient().get_model_version(f"{job.site.site}-ranker", made.version)


def aliases(job: JobArgs) -> dict[str, str]:
    return dict(mlflow.MlflowClient().get_registered_model(f"{job.site.site}-ranker").aliases)


def tamper(job: JobArgs, made: Registered, folder: Path, name: str, content: bytes) -> None:
    """Change one stored file behind the registry's back."""
    (folder / name).write_bytes(content)
    mlflow.MlflowClient().log_model_artifacts(version(job, made).source.removeprefix("models:/"), str(folder))


def test_a_version_is_an_mlflow_model_with_signature_and_input_example(job: JobArgs) -> None:
    made = register(job)
    model = Model.load(made.uri)
    assert model.signature is not None and set(model.flavors) == {"nightlift"}
    assert [(c.name, c.type.name, c.required) for c in model.signature.inputs] == [
        ("from_repeat", "boolean", True),
        ("days_since_last", "float", False),
    ]
    assert [(c.name, c.type.name) for c in model.signature.outputs] == [("relevance", "double")]
    example = model.load_input_example(made.uri)
    assert isinstance(example, pd.DataFrame)
    pd.testing.assert_frame_equal(example, EXAMPLE)


def test_a_version_holds_no_pickle_and_no_environment(job: JobArgs, tmp_path: Path) -> None:
    root = Path(mlflow.artifacts.download_artifacts(register(job).uri, dst_path=str(tmp_path / "all")))
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {"MLmodel", "ranker.ubj", "recipe.json", "example/input.json", "registered_model_meta"}


def test_the_card_says_what_how_well_and_how_to_load(job: JobArgs) -> None:
    made = register(job)
    found = version(job, made)
    for words in (
        "probability of a purchase",
        "nothing dated on or after 2024-01-08",
        "| ndcg | 0.4000 | 0.3500 to 0.4500 |",
        "| brier | 0.1000 | none |",
        "| average_effect | +1.00 pp | +0.50 to +1.50 pp |",
        "load_checked",
        made.sha256,
    ):
        assert words in found.description, words
    assert found.tags == {**tracking.tags(job), "sha256": made.sha256}
    assert found.run_id and found.status == "READY"


def test_the_same_files_are_the_same_version_and_others_the_next(job: JobArgs) -> None:
    first = register(job)
    assert register(job) == first
    second = register(job, {**FILES, "ranker.ubj": b"another"})
    assert (first.version, second.version) == ("1", "2")
    assert first.sha256 != second.sha256
    assert aliases(job) == {"challenger": "2"}


def test_loading_gives_the_files_that_were_registered(job: JobArgs, tmp_path: Path) -> None:
    made = register(job)
    assert load_checked(job, made.uri, made.sha256, tmp_path / "model") == FILES


@pytest.mark.parametrize("name", ["ranker.ubj", "recipe.json", "extra.json"])
def test_a_changed_file_is_refused_until_training_writes_it_again(job: JobArgs, tmp_path: Path, name: str) -> None:
    made = register(job)
    (tmp_path / "changed").mkdir()
    tamper(job, made, tmp_path / "changed", name, b"evil")
    with pytest.raises(DataError, match="someone changed it"):
        load_checked(job, made.uri, made.sha256, tmp_path / "first")
    assert register(job).version == made.version
    if name in FILES:
        assert load_checked(job, made.uri, made.sha256, tmp_path / "second") == FILES
    else:  # a file too many is not ours to remove
        with pytest.raises(DataError, match="someone changed it"):
            load_checked(job, made.uri, made.sha256, tmp_path / "second")


def test_promotion_keeps_the_champion_before_as_previous(job: JobArgs) -> None:
    register(job)
    register(job, {**FILES, "ranker.ubj": b"another"})
    promote(job, {"ranker": "1"})
    assert aliases(job) == {"challenger": "2", "champion": "1"}
    for _ in range(2):  # again changes nothing
        promote(job, {"ranker": "2"})
        assert aliases(job) == {"challenger": "2", "champion": "2", "previous": "1"}


def test_an_example_has_the_quartiles_and_types_of_the_features() -> None:
    frame = pd.DataFrame({name: np.arange(101, dtype=np.float32) for name in ranker.COLUMNS})
    frame["from_repeat"], frame["item_price"] = frame.index < 30, np.nan
    rows = typical_rows(frame, ranker.COLUMNS, ["from_repeat"])
    assert list(rows.columns) == list(ranker.COLUMNS)
    assert rows["days_since_last"].tolist() == [25.0, 50.0, 75.0]
    assert rows["from_repeat"].tolist() == [False, False, True]
    assert rows["item_price"].isna().all() and rows["item_price"].dtype == np.float32


def test_a_missing_git_is_said_not_fatal(job: JobArgs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(tracking.tags(job)["git_commit"]) == 40 or not (Path(__file__).parents[2] / ".git").exists()
    tracking._git_commit.cache_clear()
    monkeypatch.setenv("PATH", os.devnull)
    assert tracking.tags(job)["git_commit"] == "none"
    tracking._git_commit.cache_clear()


def publish(job: JobArgs, version: str, day: date, ranker: str) -> None:
    """A published version whose lists were made with a version of the ranker."""
    made = lists(version, day)
    place = made.column_names.index("ranker_version")
    made = made.set_column(place, made.schema.field(place), pa.array([ranker] * made.num_rows))
    assert versions.publish(job.site, job.environment, made, beside(), "proved")["state"] == "published"


def test_before_anything_was_published_there_is_no_champion(job: JobArgs) -> None:
    register(job)
    found = registry.champion(job, "ranker")
    assert found.registered is None and "were published before tonight" in found.missing


def test_the_champion_is_pinned_by_number_whatever_its_alias(job: JobArgs) -> None:
    made = register(job)
    publish(job, "aaaaaaaa", job.date, made.version)
    register(job, FILES | {"recipe.json": b"[]"})
    promote(job, {"ranker": "2"})
    found = registry.champion(replace(job, date=job.date + timedelta(days=1)), "ranker")
    assert found.registered == made and found.files == FILES and not found.missing
    assert registry.champion(job, "ranker").missing, "its own night's lists are not before it"


def test_a_champion_that_is_gone_or_was_changed_is_said_to_be(job: JobArgs, tmp_path: Path) -> None:
    made, later = register(job), replace(job, date=job.date + timedelta(days=1))
    publish(job, "aaaaaaaa", job.date, made.version)
    tamper(job, made, tmp_path, "ranker.ubj", b"another")
    found = registry.champion(later, "ranker")
    assert found.registered is None and "someone changed it" in found.missing
    publish(job, "bbbbbbbb", job.date, "99")
    found = registry.champion(later, "ranker")
    assert found.registered is None and "version 99 of" in found.missing and "not in the registry" in found.missing
