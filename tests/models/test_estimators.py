"""Average effects: a planted truth is covered, confounding shows where a method cannot adjust for it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from causalml.inference.iv import IVRegressor

from jobs.models import estimators, linear
from jobs.models.doubly_robust import Trials
from jobs.models.estimators import ALL, OVERLAP, Finding, Nuisance
from jobs.models.metrics import Estimate
from tests.models.worlds import world

WORLDS = 8


@pytest.fixture(scope="module")
def errors() -> dict[str, list[float]]:
    """Each method's error in standard errors, in worlds with a rare outcome."""
    found: dict[str, list[float]] = {}
    for seed in range(WORLDS):
        made = world(seed, users=2_000)
        for finding in estimators.side_by_side(made.trials, made.nuisance(seed), made.items, made.instrument):
            assert finding.estimate is not None
            width = (finding.estimate.high - finding.estimate.low) / 2 / estimators.Z90
            off = (finding.estimate.value - made.truth[finding.over]) / width
            found.setdefault(finding.method, []).append(off)
    return found


def test_intervals_are_as_wide_as_the_errors_are_large(errors: dict[str, list[float]]):
    """Coverage over 40 worlds is measured by benchmarks/coverage.py; here the errors' chi-square, 99.8 % bounds."""
    assert len(errors) == 6
    for method, off in errors.items():
        assert 0.86 < np.square(off).sum() < 26.1, (method, off)


def test_confounding_by_the_item_is_taken_out_by_every_method(errors: dict[str, list[float]]):
    """The raw difference is off by more than two standard errors in the same worlds."""
    raw = []
    for seed in range(WORLDS):
        trials = world(seed, users=2_000).trials
        arms = [trials.outcome[trials.treated == arm] for arm in (0, 1)]
        error = np.sqrt(sum(arm.var() / len(arm) for arm in arms))
        raw.append((arms[1].mean() - arms[0].mean() - world(seed, users=2_000).truth[ALL]) / error)
    assert np.mean(raw) > 1.5
    for method, off in errors.items():
        assert abs(np.mean(off)) < 3.1 / np.sqrt(WORLDS), method


def test_hidden_confounding_moves_every_method_but_the_instrument_and_is_reported():
    made = world(1, users=4_000, scale=10.0, hidden=0.4)
    found = {
        finding.method: finding
        for finding in estimators.side_by_side(made.trials, made.nuisance(), made.items, made.instrument)
    }
    truth = made.truth[ALL]
    instrument = found.pop("instrumental variable").estimate
    assert instrument is not None and instrument.low <= truth <= instrument.high
    assert all(finding.estimate is not None and finding.estimate.low > truth for finding in found.values())


def test_item_difference_that_ignores_the_user_disagrees():
    rng = np.random.default_rng(0)
    keen = np.repeat(rng.random(2_000), 20)
    e = 0.1 + 0.8 * keen
    treated = (rng.random(40_000) < e).astype(np.int32)
    outcome = (rng.random(40_000) < 0.02 + 0.2 * keen).astype(float)
    users = np.repeat(np.arange(2_000), 20).astype(str).astype(object)
    trials = Trials(keen[:, None].astype(np.float32), treated, outcome, np.ones(40_000), users, np.zeros(40_000, int))
    nuisance = Nuisance(e, 0.02 + 0.2 * keen, 0.02 + 0.2 * keen)
    findings = estimators.side_by_side(trials, nuisance, rng.integers(0, 20, 40_000))
    pairs = estimators.disagreements(findings)
    assert ("AIPW", "item mean difference") in pairs
    assert ("AIPW", "IPW") not in pairs and not any("instrumental variable" in pair for pair in pairs)


def test_partially_linear_averages_by_overlap_and_aipw_does_not():
    rng = np.random.default_rng(1)
    n = 40_000
    kind = rng.integers(0, 2, n)
    e = np.where(kind == 1, 0.5, 0.05)
    effect = np.where(kind == 1, 0.3, 0.0)
    treated = (rng.random(n) < e).astype(np.int32)
    outcome = (rng.random(n) < 0.1 + treated * effect).astype(float)
    users = np.arange(n).astype(str).astype(object)
    trials = Trials(kind[:, None].astype(np.float32), treated, outcome, np.ones(n), users, np.zeros(n, int))
    nuisance = Nuisance(e, np.full(n, 0.1), 0.1 + effect)
    linear, robust = estimators.partially_linear(trials, nuisance), estimators.aipw(trials, nuisance)
    assert linear.estimate is not None and robust.estimate is not None
    assert (linear.over, robust.over) == (OVERLAP, ALL)
    assert linear.estimate.value == pytest.approx(0.3 * 0.25 / (0.25 + 0.0475), abs=0.01)
    assert robust.estimate.value == pytest.approx(0.15, abs=0.01)


def test_weak_instrument_has_no_estimate_and_says_its_f():
    made = world(0, users=300)
    noise = np.random.default_rng(3).integers(0, 2, len(made.items))
    weak = estimators.two_stage(made.trials, noise)
    assert weak.estimate is None and "first-stage F" in weak.note
    assert estimators.two_stage(made.trials, None).note == "the site names no instrument"
    flat = estimators.two_stage(made.trials, np.ones(len(made.items)))
    assert flat.estimate is None and "does not vary" in flat.note


def test_trials_of_which_the_instrument_is_not_known_are_left_out_and_said():
    made = world(2, users=600, scale=10.0)
    some = np.arange(len(made.items)) % 4 > 0
    found = estimators.two_stage(made.trials, np.where(some, made.instrument, np.nan))
    alone = estimators.two_stage(made.trials.take(some), made.instrument[some])
    assert found.estimate is not None and found.estimate == alone.estimate
    assert found.note == f"{alone.note}, not known of 25.0% of trials"
    nowhere = estimators.two_stage(made.trials, np.full(len(some), np.nan))
    assert nowhere.estimate is None and nowhere.note == "the instrument is not known of any trial"


def test_two_stage_equals_causalml():
    made = world(2, users=300, scale=10.0)
    design = linear.design(made.trials.matrix, made.trials.weight)
    theirs = IVRegressor()
    theirs.fit(X=design, treatment=made.trials.treated, y=made.trials.outcome, w=made.instrument)
    ours = estimators.two_stage(made.trials, made.instrument).estimate
    assert ours is not None and ours.value == pytest.approx(theirs.predict()[0], abs=1e-10)


def test_regression_equals_statsmodels_on_all_columns_at_once():
    made = world(2, users=300, scale=10.0)
    t = replace(made.trials, weight=np.random.default_rng(0).uniform(0.5, 2.0, len(made.items)))
    design = linear.design(t.matrix, t.weight).astype(float)
    columns = np.column_stack([t.treated, np.ones(len(design)), design, t.treated[:, None] * design])
    groups = pd.factorize(t.users)[0]
    whole = sm.WLS(t.outcome, columns, weights=t.weight).fit(cov_type="cluster", cov_kwds={"groups": groups})
    ours = estimators.regression(t).estimate
    assert ours is not None and ours.value == pytest.approx(whole.params[0], abs=1e-9)
    assert (ours.high - ours.low) / 2 / estimators.Z90 == pytest.approx(whole.bse[0], rel=1e-3)


def test_weights_count_like_repeated_trials():
    made = world(3, users=1_000, scale=10.0)
    t = made.trials
    twice = np.arange(len(t.weight)) % 3 == 0
    weighted = replace(t, weight=1.0 + twice)
    rows = np.concatenate([np.arange(len(t.weight)), np.flatnonzero(twice)])
    nuisance = Nuisance(np.full(len(t.weight), 0.5), np.full(len(t.weight), 0.01), np.full(len(t.weight), 0.02))
    repeated = Nuisance(nuisance.e[rows], nuisance.mu0[rows], nuisance.mu1[rows])
    one = estimators.side_by_side(weighted, nuisance, made.items, made.instrument)
    two = estimators.side_by_side(t.take(rows), repeated, made.items[rows], made.instrument[rows])
    for first, second in zip(one, two, strict=True):
        assert first.estimate is not None and second.estimate is not None
        assert first.estimate.value == pytest.approx(second.estimate.value, abs=1e-9), first.method


def test_only_intervals_that_do_not_meet_disagree():
    def finding(name: str, low: float, high: float) -> Finding:
        return Finding(name, ALL, Estimate((low + high) / 2, low, high))

    given = [finding("a", 0.0, 1.0), finding("b", 1.0, 2.0), finding("c", 1.5, 3.0), Finding("d", ALL, None)]
    assert estimators.disagreements(given) == [("a", "c")]


def test_error_of_the_item_difference_holds_with_two_trials_in_each_arm():
    rng = np.random.default_rng(0)
    items, treated = np.repeat(np.arange(100), 4), np.tile([0, 0, 1, 1], 100).astype(np.int32)
    users, fold = np.arange(400).astype(str).astype(object), np.zeros(400, int)
    values, widths = [], []
    for _ in range(300):
        trials = Trials(np.zeros((400, 1), np.float32), treated, rng.normal(size=400), np.ones(400), users, fold)
        found = estimators.item_difference(trials, items).estimate
        assert found is not None
        values.append(found.value)
        widths.append((found.high - found.low) / 2 / estimators.Z90)
    assert np.std(values) == pytest.approx(np.sqrt(np.mean(np.square(widths))), rel=0.2)


def test_residuals_have_mean_zero_where_the_models_are_right():
    made = world(0, users=300, scale=10.0)
    t = replace(made.trials, outcome=0.2 + 0.5 * made.trials.treated)
    n = len(t.outcome)
    nuisance = Nuisance(np.full(n, t.treated.mean()), np.full(n, 0.2), np.full(n, 0.7))
    outcome, treated = estimators.residuals(t, nuisance)
    assert abs(outcome.mean()) < 1e-9 and abs(treated.mean()) < 1e-9
    assert np.allclose(outcome, 0.5 * treated)


def test_item_without_both_arms_is_left_out_and_said():
    made = world(0, users=300, scale=10.0)
    items = made.items.copy()
    items[(made.trials.treated == 1) & (np.arange(len(items)) < 600)] = "shown only"
    found = estimators.item_difference(made.trials, items)
    assert found.estimate is not None and found.note.endswith("of trials left out")
    alone = estimators.item_difference(made.trials, np.where(made.trials.treated == 1, "a", "b"))
    assert alone.estimate is None and alone.note == "no item has two trials in each arm"


def test_features_that_differ_by_nothing_in_one_arm_do_not_explain_the_treatment_away():
    made = world(2, users=300, scale=10.0)
    t, rng = made.trials, np.random.default_rng(0)
    one = rng.normal(size=len(t.treated))
    other = one + 1e-4
    other[t.treated == 0] = rng.permutation(one[t.treated == 0])
    wider = replace(t, matrix=np.column_stack([t.matrix, one, other]).astype(np.float32))
    found, plain = estimators.regression(wider).estimate, estimators.regression(t).estimate
    assert found is not None and plain is not None
    assert found.high - found.low < 2 * (plain.high - plain.low)
    assert found.low < made.truth[ALL] < found.high


def test_regression_has_no_estimate_where_a_feature_has_one_value_in_an_arm():
    made = world(2, users=300, scale=10.0)
    t = made.trials
    same = np.where(t.treated == 1, 1.0, np.random.default_rng(0).random(len(t.treated)) < 0.5)
    found = estimators.regression(replace(t, matrix=np.column_stack([t.matrix, same]).astype(np.float32)))
    assert found.estimate is None and "one value" in found.note
