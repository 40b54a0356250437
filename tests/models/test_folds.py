import numpy as np

from jobs.models import folds


def test_fold_depends_on_the_user_alone_and_folds_are_even():
    users = np.array([f"u{i}" for i in range(10_000)])
    found = folds.fold_of(users, 4)
    assert (found[::-1] == folds.fold_of(users[::-1], 4)).all()
    assert np.bincount(found).min() > 2_300


def test_known_hash_does_not_change_between_machines():
    assert int(folds.hash_ids(["a"], "s")[0]) == 0xD4315D83A95DFAEB


def test_rows_are_uniform_and_differ_by_any_key():
    left = np.repeat([f"u{i}" for i in range(100)], 100)
    right = np.tile([f"i{i}" for i in range(100)], 100)
    drawn = folds.uniform_rows(left, right, salt="x")
    assert len(np.unique(drawn)) == 10_000
    assert abs(drawn.mean() - 0.5) < 0.01 and abs((drawn < 0.3).mean() - 0.3) < 0.02
