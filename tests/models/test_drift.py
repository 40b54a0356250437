"""The index is 0 where nothing changed, known by hand where something did, and silent about what chance explains."""

import numpy as np
import pytest

from jobs.models import drift

RNG = np.random.default_rng(0)
BEFORE = RNG.normal(0.0, 1.0, 20_000)


def psi(tonight: np.ndarray, reference: np.ndarray = BEFORE) -> drift.Shift:
    return drift.stability("x", tonight, reference)


def test_the_same_values_have_no_drift_and_a_new_draw_only_what_chance_explains() -> None:
    assert psi(BEFORE).psi == pytest.approx(0.0, abs=1e-12)
    drawn = [psi(RNG.normal(0.0, 1.0, 500)) for _ in range(300)]
    assert all(shift.psi > 0 for shift in drawn)
    assert np.mean([shift.beyond > 0 for shift in drawn]) < 0.01


def test_the_index_is_the_published_formula() -> None:
    reference, tonight = np.repeat([0.0, 1.0], [600, 400]), np.repeat([0.0, 1.0], [300, 700])
    p, q = np.array([300.5, 700.5]) / 1001, np.array([600.5, 400.5]) / 1001
    assert psi(tonight, reference).psi == pytest.approx(((p - q) * np.log(p / q)).sum())


@pytest.mark.parametrize(("by", "least"), [(0.5, 0.1), (1.0, 0.25), (-1.0, 0.25)])
def test_a_shift_of_the_mean_is_beyond_the_usual_levels(by: float, least: float) -> None:
    assert psi(RNG.normal(by, 1.0, 5_000)).beyond > least


def test_missing_values_have_a_bin_of_their_own() -> None:
    some = np.where(RNG.random(20_000) < 0.3, np.nan, BEFORE)
    assert psi(some).beyond > 0.25
    assert psi(some, some).psi == pytest.approx(0.0, abs=1e-12)
    assert psi(BEFORE, np.full(500, np.nan)).beyond > 0.25, "a column that was never there before"
    assert psi(np.full(500, np.nan), np.full(500, np.nan)).psi == 0.0


@pytest.mark.parametrize("now", [4.9, 5.1])
def test_a_constant_that_moves_is_seen(now: float) -> None:
    assert psi(np.full(500, 5.0), np.full(500, 5.0)).psi == 0.0
    assert psi(np.full(500, now), np.full(500, 5.0)).beyond > 0.25


def test_values_outside_the_range_of_the_reference_have_bins_of_their_own() -> None:
    edges = drift.cuts(BEFORE)
    assert edges[0] < BEFORE.min() and edges[-1] > BEFORE.max()
    found = drift.counts([-99.0, 0.0, 99.0, np.nan], edges)
    assert (found[0], found[-2], found[-1], found.sum()) == (1, 1, 1, 4)


def test_a_value_many_rows_share_may_move_by_a_hair() -> None:
    steps = RNG.choice([0.1, 0.4, 2.0, 11.0, 35.0], 10_000, p=[0.4, 0.25, 0.2, 0.1, 0.05])
    assert psi(steps * 1.02, steps).beyond < 0.1 and psi(steps * 0.98, steps).beyond < 0.1
    assert psi(steps * 2.0, steps).beyond > 0.25


def test_probabilities_are_compared_by_how_likely_they_are_not_by_where_calibration_left_its_steps() -> None:
    fine = RNG.beta(1.0, 60.0, 10_000)
    first, second = (np.exp(np.round(np.log(fine) + shift) - shift) for shift in (0.0, 0.5))
    assert psi(second, first).beyond > 0.25, "steps alone"
    before = drift.smoothed(first, 0)
    assert psi(drift.smoothed(second, 0), before).beyond < 0.1
    for factor in (0.5, 2.0):
        assert psi(drift.smoothed(first * factor, 0), before).beyond > 0.25
    assert np.isfinite(drift.smoothed([0.0, 1.0], 0)).all()


def test_few_rows_prove_nothing() -> None:
    assert psi(RNG.normal(0.5, 1.0, 20), BEFORE[:20]).beyond == 0.0


def test_columns_are_compared_where_both_have_them_the_farthest_first() -> None:
    found = drift.compare({"a": BEFORE, "b": BEFORE + 3, "new": BEFORE}, {"a": BEFORE, "b": BEFORE, "old": BEFORE})
    assert [shift.column for shift in found] == ["b", "a"]
    documents = [shift.document() for shift in found]
    (said,) = drift.moved(documents, 0.25)
    assert said.startswith(f"b {found[0].psi:.2f} (chance ")


def figure(value: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def night(users: float = 100.0, share: float = 0.6, effect: tuple[float, float, float] = (0.02, 0.01, 0.03)) -> dict:
    return {
        "users": figure(users),
        "list_rows": figure(5 * users),
        "identified_share": figure(share),
        "average_effect": figure(*effect),
    }


def test_figures_stand_beside_the_mean_of_the_last_nights() -> None:
    found = drift.beside(night(150.0, 0.5, (0.05, 0.04, 0.06)), [night(90.0), night(110.0, 0.8)])
    assert found["users_ratio"] == found["list_rows_ratio"] == pytest.approx(1.5)
    assert found["identified_share_change"] == pytest.approx(-0.2)
    assert found["average_effect_gap"] == pytest.approx((0.04 - 0.03) / 0.02)


@pytest.mark.parametrize(("effect", "gap"), [((0.03, 0.02, 0.04), 0.0), ((-0.02, -0.03, -0.01), 1.0)])
def test_intervals_that_meet_have_no_gap(effect: tuple[float, float, float], gap: float) -> None:
    assert drift.beside(night(effect=effect), [night()])["average_effect_gap"] == pytest.approx(gap)


def test_a_first_night_has_nothing_to_stand_beside() -> None:
    assert set(drift.beside(night(), []).values()) == {None}
