"""A simulated night uses the night's own parts, everybody has a twin, and luck is the same for all policies."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jobs import simulate
from jobs.models import lists, simulated_log
from jobs.runtime.cli import app
from jobs.runtime.errors import SetupError


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "USERS", 120)
    monkeypatch.setattr(simulate, "ITEMS", 32)


def test_the_oracle_adds_most_and_chance_least() -> None:
    added = {
        policy: sum(row["incremental"] for row in simulate.simulate("helpful", policy, 100, 6))
        for policy in ("oracle", "popularity", "random")
    }
    assert added["oracle"] > 1.2 * max(added["popularity"], added["random"]) > 0


def test_where_nothing_has_an_effect_every_policy_lives_through_the_same() -> None:
    first, second = (simulate.simulate("null", policy, 100, 3) for policy in ("popularity", "random"))
    assert [row["outcomes"] for row in first] == [row["outcomes"] for row in second]
    assert not any(row["incremental"] for row in first + second)
    assert [row["listed"] for row in first] != [row["listed"] for row in second]


def test_an_adjusted_night_knows_its_groups_and_measures_them() -> None:
    (row,) = simulate.simulate("helpful", "adjusted", 100, 1)
    assert row["incremental"] > 0
    assert 0 < row["identified_share"] <= row["overlap_share"] <= 1
    assert isinstance(row["gate"], bool)
    assert row["lift_low"] < row["lift"] < row["lift_high"]
    assert row["lift"] == pytest.approx(row["running"]) and row["lift_true"] == row["running_true"]
    assert row["running_low"] < row["lift_low"], "who may look every night pays for it"


def test_real_users_live_in_their_own_arm_and_twins_in_the_other() -> None:
    run = simulate.start("helpful", "adjusted", 100)
    held = lists.held_out(simulated_log.names("u", simulate.USERS), run.site.site, run.site.holdout_share)
    assert 2 <= held.sum() < 40
    assert (run.member[held] == 0).all() and (run.member[~held] == 1).all()
    first = simulate.best_sellers(run, 0)[0]
    second = simulate.unlogged(simulate.top(np.arange(32.0) * np.ones((120, 1)), run.site.list_length))
    run.live(0, [first, second])
    for arm, group in enumerate((held, ~held)):
        assert (run.log.shown[-1][group] == run.arms[arm].log.shown[-1][group]).all()
        assert (run.log.outcome[-1][group] == run.arms[arm].log.outcome[-1][group]).all()
    assert (run.log.shown[-1][held] != run.arms[1].log.shown[-1][held]).any()


def test_places_are_the_best_first() -> None:
    places = simulate.top(np.array([[0.1, 0.9, 0.5]]), 2)
    assert places.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("scenario", "policies", "said"),
    [("helpfull", "adjusted", "--scenario 'helpfull': there is helpful, null"), ("null", "best", "--policies 'best'")],
)
def test_what_there_is_not_is_refused_in_one_line(scenario: str, policies: str, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        simulate.parse(scenario, policies)


def test_the_command_writes_figures_and_plots(tmp_path: Path) -> None:
    def run(plot: Path) -> str:
        given = ["--nights", "2", "--policies", "popularity,random", "--seeds", "2", "--first-seed", "100"]
        done = CliRunner().invoke(app, ["simulate", *given, "--json", str(tmp_path / "f.json"), "--plot", str(plot)])
        assert done.exit_code == 0, done.output
        return done.output

    assert "popularity: " in run(tmp_path / "f.png") and "random: " in run(tmp_path / "f.html")
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["seeds"] == [100, 101] and len(found["cumulative_incremental"]["random"]) == 2
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "f.html").read_text()
    assert "<svg" in page and "scenario helpful" in page


def test_a_plot_that_cannot_be_written_is_refused_before_the_first_night(tmp_path: Path) -> None:
    for plot in (tmp_path / "f.gif", tmp_path / "none" / "f.png"):
        done = CliRunner().invoke(app, ["simulate", "--plot", str(plot)])
        assert isinstance(done.exception, SetupError) and str(plot) in str(done.exception)
