"""Planted lifts are found, no lift is not, the covariate helps, and looking every night does no harm."""

import numpy as np
import pytest

from jobs.models import lift

USERS, CONTROL, NIGHTS = 600, 120, 20


def experiment(rng: np.random.Generator, planted: float, nights: int = 1) -> tuple[np.ndarray, ...]:
    """Users who differ for good: nightly outcome counts (nights, users), a count of before, and who is treated."""
    keen = rng.gamma(1.0, 1.0, USERS)
    treated = rng.permutation(USERS) >= CONTROL
    before = rng.poisson(4 * keen).astype(float)
    return rng.poisson(keen + planted * treated, (nights, USERS)).astype(float), before, treated


def test_the_interval_of_one_look_holds_the_truth_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(600):
        (count,), before, treated = experiment(rng, 0.3)
        found = lift.difference(count, before, treated)
        assert found is not None
        held.append(found.interval().low <= 0.3 <= found.interval().high)
    assert 0.87 < np.mean(held) < 0.93


def test_looking_every_night_finds_no_lift_where_there_is_none() -> None:
    """With one-look intervals a third of such experiments would end with a lift that is not there."""
    rng, safe, naive = np.random.default_rng(1), [], []
    for _ in range(300):
        counts, before, treated = experiment(rng, 0.0, NIGHTS)
        looks = [lift.difference(counts[: n + 1].mean(axis=0), before, treated) for n in range(NIGHTS)]
        found = [look for look in looks if look is not None]
        assert len(found) == NIGHTS
        intervals = [(look.interval(), look.always_valid(n)) for n, look in enumerate(found, start=1)]
        naive.append(any(not one.low <= 0 <= one.high for one, _ in intervals))
        safe.append(any(not every.low <= 0 <= every.high for _, every in intervals))
    assert np.mean(naive) > 0.2
    assert np.mean(safe) <= 0.1


def test_a_lift_that_is_there_is_found_in_the_end() -> None:
    counts, before, treated = experiment(np.random.default_rng(2), 0.3, NIGHTS)
    found = lift.difference(counts.mean(axis=0), before, treated)
    assert found is not None
    safe = found.always_valid(NIGHTS)
    assert 0 < safe.low < 0.3 < safe.high
    assert safe.low < found.interval().low, "whoever may look every night pays for it"


def test_the_boundary_is_narrowest_about_when_it_should_be() -> None:
    wide = [lift.boundary(night) / np.sqrt(night) for night in range(1, 60)]
    assert wide == sorted(wide, reverse=True), "the interval of a mean only shrinks"
    factors = [lift.boundary(night) for night in range(1, 60)]
    assert abs(int(np.argmin(factors)) + 1 - lift.TIGHTEST) <= 3
    assert 2.5 < min(factors) < 3.0


def test_the_covariate_makes_the_interval_narrower_and_moves_nothing() -> None:
    rng, with_it, without = np.random.default_rng(3), [], []
    for _ in range(200):
        (count,), before, treated = experiment(rng, 0.3)
        first, second = (lift.difference(count, given, treated) for given in (before, np.zeros(USERS)))
        assert first is not None and second is not None
        assert first.error < second.error
        with_it.append(first.value)
        without.append(second.value)
    assert np.mean(with_it) == pytest.approx(0.3, abs=0.03)
    assert np.std(with_it) < 0.9 * np.std(without)


def test_without_a_covariate_it_is_the_plain_difference() -> None:
    count, treated = np.array([3.0, 1.0, 0.0, 2.0]), np.array([True, True, False, False])
    found = lift.difference(count, np.zeros(4), treated)
    assert found is not None
    assert found.value == 1.0
    assert (found.treated, found.control) == (2, 2)


def test_a_group_of_one_has_no_lift() -> None:
    treated = np.array([True, True, False])
    assert lift.difference(np.ones(3), np.zeros(3), treated) is None
    assert lift.difference(np.ones(3), np.zeros(3), ~treated) is None
