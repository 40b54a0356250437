"""A study lives in PostgreSQL: killed, it goes on; done, its best makes later nights' challengers, no champion."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from jobs import train_ranker, tune_models
from jobs.runtime import recipes, tracking
from jobs.runtime.args import JobArgs
from jobs.runtime.errors import DataError
from jobs.runtime.recipes import Recipe
from jobs.runtime.site import Tuning
from jobs.tables import studies
from jobs.tables.contracts import CANDIDATES
from jobs.tables.lake import Lake
from jobs.tables.warehouse import connect
from tests import labelled_windows
from tests.labelled_windows import NIGHT, TRIALS

ROOT = Path(__file__).resolve().parents[1]
LATER = date(2024, 1, 23)


@pytest.fixture
def night(job: JobArgs, monkeypatch: pytest.MonkeyPatch) -> JobArgs:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    return labelled_windows.write(job)


def argv(args: JobArgs, day: date = NIGHT) -> list[str]:
    return ["--site", args.site.site, "--date", day.isoformat()]


def states(args: JobArgs) -> list[TrialState]:
    """States of the trials of the only study, or none before there is one."""
    query = f"SELECT state FROM {studies.schema(args)}.trials ORDER BY number"
    with connect(args.environment) as connection:
        if connection.execute("SELECT to_regclass(%s)", (f"{studies.schema(args)}.trials",)).fetchone() == (None,):
            return []
        return [TrialState[row[0]] for row in connection.execute(query)]  # type: ignore[arg-type]


def test_a_killed_study_goes_on_and_a_finished_one_is_not_done_again(night: JobArgs) -> None:
    command = [sys.executable, "-m", "jobs.tune_models", *argv(night)]
    child = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    until = time.monotonic() + 120
    while TrialState.COMPLETE not in states(night) and child.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    before = states(night)
    assert before[:1] == [TrialState.COMPLETE] and len(before) < TRIALS
    assert tune_models.main(argv(night)) == 0
    after = states(night)
    assert sum(state in studies.ENDED for state in after) == TRIALS and after[: len(before) - 1] == before[:-1]
    assert after.count(TrialState.FAIL) == before.count(TrialState.RUNNING) and TrialState.RUNNING not in after
    assert tune_models.main(argv(night, LATER)) == 0, "a day without a night: the night before is tuned"
    assert states(night) == after


def test_the_best_is_a_challenger_of_later_nights_while_the_site_is_as_it_was(night: JobArgs) -> None:
    assert tune_models.main(argv(night)) == 0
    document = Lake(night).read_json(recipes.TUNED)
    best = Recipe.model_validate(document["recipe"])
    assert document["metrics"]["tuned_ndcg"]["value"] >= document["metrics"]["own_ndcg"]["value"] > 0.4
    assert {"from_repeat", "from_popularity"} <= set(best.sources)
    later = replace(night, date=LATER)
    assert recipes.tonight(later, Lake(later)) == (best, f"tuned on {NIGHT}")
    assert recipes.tonight(night, Lake(night)) == (Recipe.of_site(night.site), "the site file"), "not its own night"
    changed = replace(later, site=night.site.model_copy(update={"seed": 9}))
    assert recipes.tonight(changed, Lake(changed))[1] == "the site file"
    client = tracking.client(night)
    assert not client.search_registered_models(f"name LIKE '{night.site.site}%'"), "tuning registers no model"
    (run,) = client.search_runs(
        [client.get_experiment_by_name(night.site.site).experiment_id], "attributes.run_name = 'tuning'"
    )
    assert run.data.metrics["tuned_ndcg"] == pytest.approx(document["metrics"]["tuned_ndcg"]["value"])


def test_a_later_nights_ranker_is_trained_by_the_tuned_recipe_and_carries_it(night: JobArgs) -> None:
    own = Recipe.of_site(night.site)
    learner = own.ranker.model_copy(update={"max_depth": 5, "label_windows": 2})
    tuned = own.model_copy(update={"ranker": learner, "variety": "calibrated", "variety_weight": 0.4})
    Lake(night).write_json(recipes.TUNED, {"site": night.site.digest, "recipe": tuned.model_dump(mode="json")})
    assert train_ranker.main(argv(night)) == 0
    assert Lake(night).read_json("ranker")["recipe_from"] == "the site file"
    lists = Lake(night).read_json(recipes.LISTS)[recipes.LISTS]
    assert recipes.with_lists(night.site, lists) == night.site
    later = labelled_windows.write(night, day=LATER)
    assert train_ranker.main(argv(later, LATER)) == 0
    assert Lake(later).read_json("ranker")["recipe_from"] == f"tuned on {NIGHT}"
    assert Lake(later).read_json("chosen_ranker")["decision"]["chosen"] == "challenger", "nothing is published yet"
    lists = Lake(later).read_json(recipes.LISTS)[recipes.LISTS]
    ranking = recipes.with_lists(later.site, lists).ranking
    assert (ranking.variety, ranking.variety_weight) == ("calibrated", 0.4)
    changed = later.site.model_copy(update={"seed": 9})
    assert recipes.with_lists(changed, lists) == changed, "tuned for other settings"


def test_sources_are_chosen_among_where_they_bring_the_candidates(night: JobArgs) -> None:
    lake = Lake(night)
    assert tune_models.chooses_sources(night, lake)
    rows = lake.read_arrow(CANDIDATES).to_pandas()
    rows.loc[rows["as_of"] == NIGHT, "from_popularity"] = False
    labelled_windows.put(night, CANDIDATES, rows)
    assert not tune_models.chooses_sources(night, lake)


def test_users_are_drawn_the_same_every_time(night: JobArgs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_models, "USERS", 20)
    first, second = (set(tune_models.load(night, Lake(night)).frame["user_id"]) for _ in range(2))
    assert first == second and len(first) == 20


def test_without_a_night_or_enough_windows_there_is_nothing_to_tune(night: JobArgs) -> None:
    with pytest.raises(DataError, match="run one first"):
        tune_models.main(argv(night, date(2024, 1, 21)))
    labelled_windows.write(night, tuning=Tuning(windows=3))
    with pytest.raises(DataError, match=r"3 label windows, and tuning.windows = 3 needs one more"):
        tune_models.main(argv(night))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
