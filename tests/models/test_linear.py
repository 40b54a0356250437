import numpy as np

from jobs.models import linear


def test_design_drops_what_repeats_and_marks_what_is_missing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1)).astype(np.float32)
    holes = np.where(rng.random((500, 1)) < 0.2, np.nan, rng.normal(size=(500, 1))).astype(np.float32)
    made = linear.design(np.hstack([x, 2 * x, np.ones_like(x), holes, holes]), np.ones(500))
    assert made.shape == (500, 3)
    assert np.abs(made.mean(axis=0)).max() < 1e-6
    assert np.allclose(made.std(axis=0), 1.0, atol=1e-5)
    assert np.linalg.matrix_rank(made) == 3


def test_what_is_left_is_least_squares_residual_whatever_the_block():
    rng = np.random.default_rng(0)
    rows = 60_000  # more than one block
    columns, given = rng.normal(size=(rows, 2)), rng.normal(size=(rows, 3)).astype(np.float32)
    weight, switch = rng.uniform(0.5, 2, rows), rng.integers(0, 2, rows)
    whole = np.column_stack([np.ones(rows), given, switch[:, None] * given])
    root = np.sqrt(weight)[:, None]
    expected = columns - whole @ np.linalg.lstsq(whole * root, columns * root, rcond=None)[0]
    assert np.allclose(linear.partial_out(columns, given, weight, switch), expected, atol=1e-9)
