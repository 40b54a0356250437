"""Figures over worlds are right on rows one can do in the head, and the sentences say them."""

import pandas as pd
import pytest

from jobs.models import simulation_results
from jobs.models.metrics import Estimate

NIGHTS = 4


def rows(scenario: str = "helpful", adjusted: tuple[float, ...] = (3, 3, 3, 3), **changed: float) -> pd.DataFrame:
    """Two worlds, in the second of which everything is double; relevance adds 2 a night."""
    lift = {"lift": 0.1, "lift_low": 0.0, "lift_high": 0.2, "lift_true": 0.15}
    lift |= {"running": 0.1, "running_low": 0.0, "running_high": 0.2, "running_true": 0.1} | changed
    shares = {"overlap_share": 0.8, "identified_share": 0.6, "gate": True}
    made = []
    for seed in (0, 1):
        for night in range(1, NIGHTS + 1):
            common = {"scenario": scenario, "seed": seed, "night": night}
            for policy, added in (("adjusted", adjusted[night - 1]), ("relevance", 2.0)):
                size = (seed + 1) * added
                row = common | {"policy": policy, "incremental": size, "outcomes": 10.0, "listed": 4.0}
                made.append(row | (lift | shares if policy == "adjusted" else {}))
    return pd.DataFrame(made)


def test_sums_run_over_nights_and_intervals_over_worlds() -> None:
    found = simulation_results.cumulative(rows())
    last = found["relevance"][-1]
    assert [figure.value for figure in found["relevance"]] == [3.0, 6.0, 9.0, 12.0]
    assert isinstance(last, Estimate)
    assert last.high - last.value == pytest.approx(6.3138 * 4.0, rel=1e-3), "t of one degree, error 8 / 2"


def test_one_world_has_no_interval() -> None:
    one = rows().query("seed == 0")
    assert simulation_results.cumulative(one)["adjusted"] == [3.0, 6.0, 9.0, 12.0]
    assert "interval" not in simulation_results.sentences(simulation_results.figures(one))[0]


def test_policies_are_compared_world_by_world() -> None:
    found = simulation_results.against(rows(), "incremental")
    assert found == Estimate(0.5, 0.5, 0.5)
    harm = rows(adjusted=(-1, -1, -1, -1))
    harm.loc[harm["policy"] == "relevance", "incremental"] *= -1
    assert simulation_results.against(harm, "incremental").value == pytest.approx(0.5), "half the harm is half better"


def test_nothing_is_compared_with_nothing() -> None:
    assert simulation_results.against(rows().query("policy == 'adjusted'"), "incremental") is None
    assert simulation_results.against(rows().assign(incremental=0.0), "incremental") is None


def test_coverage_counts_the_nights_whose_interval_held_the_truth() -> None:
    made = rows(lift_true=0.15)
    made.loc[(made["policy"] == "adjusted") & (made["night"] == 1), "lift_true"] = 0.3
    made.loc[(made["policy"] == "adjusted") & (made["seed"] == 1) & (made["night"] == 2), "running_true"] = 0.3
    found = simulation_results.figures(made)
    assert found["lift_coverage"]["value"] == 0.75
    assert found["running_lift_always_covered"] == 0.5
    assert len(found["nightly_lift"]) == 2 * NIGHTS


@pytest.mark.parametrize(
    ("adjusted", "nights"),
    [((3, 3, 3, 3), 1), ((3, 3, 1, 3), 2), ((3, 1, 3, 1), None), ((9, 9, 2.5, 2.5), 1)],
)
def test_recovery_is_for_good(adjusted: tuple[float, ...], nights: int | None) -> None:
    assert simulation_results.recovered_after(rows(adjusted=adjusted), 2) == nights


def test_every_figure_is_said() -> None:
    said = " ".join(simulation_results.sentences(simulation_results.figures(rows("drift"), drift=2)))
    for words in (
        "adjusted: 18 ",
        "relevance: 12 ",
        "true incremental outcomes: +50.0%",
        "all expected outcomes: +0.0%",
        "identified: 60% on night 1, 60% on night 2, 60% on night 4",
        "gate was open on 100%",
        "held the true lift on 100.0%",
        "every night in 100% of worlds",
        "above relevance for good from night 1 of the changed world",
    ):
        assert words in said


def test_without_exploration_it_says_what_cannot_be_known() -> None:
    said = simulation_results.sentences(simulation_results.figures(rows("no_exploration")))
    assert any("never shown cannot be known" in sentence for sentence in said)
    assert not any(
        "never shown" in sentence for sentence in simulation_results.sentences(simulation_results.figures(rows()))
    )
