import numpy as np
import pandas as pd
import pytest

from jobs.models import prior
from jobs.models.folds import fold_of
from jobs.models.prior import Cells
from jobs.tables.contracts import PAIR_COUNTS

FOLDS = 2
LOW, HIGH = (0.03, 0.03), (0.42, 0.1)  # rates shown and not shown; points of the grid


def masks(users=60, items=5, periods=6, seed=0):
    """Masks of a small world: an item out of play, an unlisted user and item, pairs that have no row."""
    rng = np.random.default_rng(seed)
    active = pd.Series(rng.integers(1, 1 << periods, users), index=[f"u{n}" for n in range(users)])
    in_play = pd.Series(rng.integers(1, 1 << periods, items), index=[f"i{n}" for n in range(items)])
    in_play.iloc[-1] = 0
    shown, outcome = (rng.integers(0, 1 << periods, (users, items)) for _ in range(2))
    there = rng.random((users, items)) < 0.4
    user, item = np.nonzero(there)
    pairs = pd.DataFrame({"user_id": active.index[user], "item_id": in_play.index[item]})
    pairs = pairs.assign(shown=shown[user, item], outcome=outcome[user, item])
    stranger = pd.DataFrame({"user_id": ["u0", "nobody"], "item_id": ["nothing", "i0"], "shown": 1, "outcome": 1})
    return pd.concat([pairs, stranger]), active, in_play


def brute_force(pairs, active, in_play):
    """Users by item, fold and counts, one pair and period at a time."""
    rows = {(row.user_id, row.item_id): (row.shown, row.outcome) for row in pairs.itertuples()}
    found = {}
    for user, fold in zip(active.index, fold_of(active.index, FOLDS), strict=True):
        for code, item in enumerate(in_play.index):
            shown, outcome = rows.get((user, item), (0, 0))
            counts = [0, 0, 0, 0]
            for period in range(10):
                if active[user] >> period & in_play[item] >> period & 1:
                    arm = 0 if shown >> period & 1 else 2
                    counts[arm] += 1
                    counts[arm + 1] += outcome >> period & 1
            key = (code, int(fold), *(int(count) for count in counts))
            found[key] = found.get(key, 0) + 1
    return found


def test_cells_equal_brute_force_and_count_pairs_without_a_row():
    pairs, active, in_play = masks()
    cells = prior.count_cells(pairs, active, in_play, FOLDS)
    counts = prior.unpack(cells.key).tolist()
    found = {
        (int(item), int(fold), *each): int(users)
        for item, fold, each, users in zip(cells.item, cells.fold, counts, cells.users, strict=True)
    }
    assert found == brute_force(pairs, active, in_play)
    assert cells.users.sum() == len(active) * len(in_play) > len(pairs)


def draw(users, points=(LOW, HIGH), share=0.2, seed=0, trials=10, shown=0.5):
    """Rates (users, 2) of a two-point prior, ``share`` at the second point, and counts (users, 4)."""
    rng = np.random.default_rng(seed)
    rates = np.array(points)[(rng.random(users) < share).astype(int)]
    treated = rng.binomial(trials, shown, users)
    outcomes = [rng.binomial(number, rate) for number, rate in zip((treated, trials - treated), rates.T, strict=True)]
    return rates, np.column_stack([treated, outcomes[0], trials - treated, outcomes[1]])


def as_cells(parts, seed=0):
    """Cells of the counts of each item; users are spread over the folds."""
    rng = np.random.default_rng(seed)
    rows = [
        pd.DataFrame({"item": item, "fold": rng.integers(0, FOLDS, len(counts)), "key": prior.pack(counts)})
        for item, counts in enumerate(parts)
    ]
    total = pd.concat(rows).groupby(["item", "fold", "key"]).size().rename("users").reset_index()
    return Cells(*(total[name].to_numpy() for name in ("item", "fold", "key")), total["users"].to_numpy(np.float64))


def bayes(counts, points=(LOW, HIGH), share=0.2):
    """Posterior mean effect under the true two-point prior."""
    n1, y1, n0, y0 = counts.T
    weight = [
        mass * a**y1 * (1 - a) ** (n1 - y1) * b**y0 * (1 - b) ** (n0 - y0)
        for mass, (a, b) in zip((1 - share, share), points, strict=True)
    ]
    effect = sum(each * (a - b) for each, (a, b) in zip(weight, points, strict=True))
    return effect / sum(weight)


@pytest.fixture(scope="module")
def planted():
    """One item of many users: true rates, counts and the fitted prior."""
    rates, counts = draw(20_000)
    return rates, counts, prior.fit(as_cells([counts]), ["i0"], ["c"], FOLDS)


def test_a_planted_two_point_prior_gives_nearly_the_effects_of_bayes(planted):
    rates, counts, fitted = planted
    found = fitted.posterior(np.zeros(len(counts), dtype=int), np.full(len(counts), "i0"), counts)
    truth, best = rates[:, 0] - rates[:, 1], bayes(counts)
    assert np.sqrt(((found.effect - best) ** 2).mean()) < 0.2 * truth.std()
    raw = counts[:, 1] / np.maximum(counts[:, 0], 1) - counts[:, 3] / np.maximum(counts[:, 2], 1)
    ours, theirs, naive = (((each - truth) ** 2).mean() for each in (found.effect, best, raw))
    assert ours < 1.1 * theirs and ours < 0.4 * naive
    assert found.item_shown[0] == pytest.approx(rates[:, 0].mean(), abs=0.01)
    assert found.item_not_shown[0] == pytest.approx(rates[:, 1].mean(), abs=0.01)
    assert np.allclose(found.effect, found.shown - found.not_shown)


def test_an_effect_without_a_trial_is_the_priors(planted):
    _, _, fitted = planted
    found = fitted.posterior(np.zeros(1, dtype=int), ["i0"], np.zeros((1, 4)))
    assert found.shown == pytest.approx(found.item_shown) and found.not_shown == pytest.approx(found.item_not_shown)


def test_quantiles_hold_the_planted_effect_nine_times_in_ten():
    rng = np.random.default_rng(3)
    points = prior.RATES[rng.integers(5, 15, (30_000, 2))]  # a broad prior, so that the quantiles can be near 90 %
    treated = np.full(len(points), 6)
    counts = np.column_stack([treated, rng.binomial(6, points[:, 0]), treated, rng.binomial(6, points[:, 1])])
    fitted = prior.fit(as_cells([counts]), ["i0"], ["c"], FOLDS)
    found = fitted.posterior(np.zeros(len(counts), dtype=int), np.full(len(counts), "i0"), counts)
    effect = points[:, 0] - points[:, 1]
    assert 0.88 < ((found.low - 1e-12 <= effect) & (effect <= found.high + 1e-12)).mean() < 0.95
    assert ((found.low <= found.effect) & (found.effect <= found.high)).mean() > 0.99


def test_an_item_of_few_users_is_shrunken_to_its_category():
    strong, weak = ((0.56, 0.1),) * 2, ((0.03, 0.03),) * 2
    many = [draw(40_000, strong, seed=1)[1], draw(40_000, weak, seed=2)[1]]
    few = draw(6, weak, seed=3)[1]
    fitted = prior.fit(as_cells([*many, few, few]), ["a", "b", "new a", "new b"], ["A", "B", "A", "B"], FOLDS)
    effect = fitted.weights[0] @ prior.EFFECT
    assert effect[:2] == pytest.approx([0.46, 0.0], abs=0.02)
    assert effect[2] > 0.3 > 0.1 > effect[3]  # equal users, but in a category where showing works
    assert effect[3] < effect[-1] < effect[2]


def test_a_category_of_few_users_is_shrunken_to_all():
    strong, weak = ((0.56, 0.1),) * 2, ((0.03, 0.03),) * 2
    parts = [draw(40_000, strong, seed=1)[1], draw(100, weak, seed=2)[1]]
    fitted = prior.fit(as_cells([*parts, np.zeros((1, 4))]), ["a", "b", "new b"], ["A", "B", "B"], FOLDS)
    effect = fitted.weights[0] @ prior.EFFECT
    assert effect[2] == pytest.approx(effect[-1], abs=0.02) and effect[-1] > 0.4
    assert effect[1] < effect[2] - 0.05  # its own users count


def test_a_folds_prior_never_uses_its_users():
    _, counts = draw(2_000)
    cells = as_cells([counts, draw(2_000, seed=1)[1]])
    mine = cells.fold == 0
    counts_of_mine = prior.unpack(cells.key[mine])
    turned = prior.pack(counts_of_mine[:, [2, 3, 0, 1]])  # arms swapped: another world
    changed = Cells(cells.item, cells.fold, cells.key.copy(), cells.users)
    changed.key[mine] = turned
    first, second = (prior.fit(each, ["a", "b"], ["c", "c"], FOLDS).weights for each in (cells, changed))
    assert np.allclose(first[0], second[0], atol=1e-6)
    assert np.abs(first[1] - second[1]).max() > 0.01


def test_everybodys_prior_leaves_nobody_out():
    cells = as_cells([draw(2_000)[1], draw(2_000, seed=1)[1]])
    fitted = prior.fit(cells, ["a", "b"], ["c", "c"], FOLDS)
    elsewhere = Cells(cells.item, np.ones_like(cells.fold), cells.key, cells.users)  # nobody is in fold 0
    without_nobody = prior.fit(elsewhere, ["a", "b"], ["c", "c"], FOLDS).weights[0]
    assert len(fitted.weights) == FOLDS + 1
    assert np.allclose(fitted.weights[fitted.everybody], without_nobody, atol=1e-6)
    assert np.abs(fitted.weights[fitted.everybody] - fitted.weights[0]).max() > 1e-3


def test_a_prior_survives_its_document(planted):
    fitted = planted[2]
    again = prior.Prior.of(["i0"], fitted.document())
    assert again.items == fitted.items and np.array_equal(again.weights, fitted.weights)
    assert fitted.weights.sum(axis=2) == pytest.approx(1.0, abs=1e-5)


def test_an_unknown_item_has_the_prior_of_all():
    fitted = prior.fit(as_cells([draw(3_000)[1], draw(3_000, share=0.6, seed=1)[1]]), ["a", "b"], ["c", "d"], FOLDS)
    unknown, *known = fitted.posterior(np.zeros(3, dtype=int), ["new", "a", "b"], np.zeros((3, 4))).effect
    assert min(known) < unknown < max(known)
    assert unknown == pytest.approx(float(fitted.weights[0, -1] @ prior.EFFECT))


def test_without_a_pair_in_both_arms_everything_is_finite():
    shown, hidden = draw(500, shown=1.0)[1], draw(500, shown=0.0, seed=1)[1]
    fitted = prior.fit(as_cells([shown, hidden]), ["a", "b"], ["c", ""], FOLDS)
    found = fitted.posterior(np.array([0, 1, 0]), ["a", "b", "new"], np.array([shown[0], hidden[0], [0, 0, 0, 0]]))
    assert np.isfinite(np.column_stack(list(vars(found).values()))).all()
    assert (found.low <= found.high).all() and (found.high - found.low > 0.1).all()  # an arm nobody saw says little


def test_the_learners_columns_are_in_the_order_of_their_names(planted):
    _, counts, fitted = planted
    part = counts[:50]
    found = fitted.posterior(np.zeros(50, dtype=int), np.full(50, "i0"), part)
    table = pd.DataFrame(found.matrix(part.astype(np.float32)), columns=list(prior.COLUMNS))
    assert np.allclose(table["prior_effect"], found.effect, atol=1e-6)
    assert np.allclose(table["rate_shown"] - table["rate_not_shown"], found.effect, atol=1e-6)
    assert np.allclose(table["prior_sd"], found.sd, atol=1e-6)
    assert np.array_equal(table[list(PAIR_COUNTS)].to_numpy(), part)
