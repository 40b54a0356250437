"""Users are scored by what their nearest take lately, never by themselves."""

import numpy as np
import pyarrow as pa
import pytest

from jobs.transforms import peers
from jobs.transforms.histories import HALF_LIFE, habits
from jobs.transforms.peers import Peers
from tests.transforms.rows import histories_of

TODAY = 500
TOOK = {"ann": [0, 1, 2], "bob": [1, 0, 3], "cid": [4, 5], "dee": [], "eve": [0, 1]}
NOTHING = np.zeros(0, np.int64), np.zeros(0)


def alike(took: dict[str, list[int]] | None = None) -> Peers:
    """Everybody took each thing once, yesterday."""
    took = TOOK if took is None else took
    rows = {user: [(TODAY - 1, item, 1) for item in took[user]] for user in list(took)[::-1]}
    return Peers.of(histories_of(rows), 7, TODAY)


def own(*items: int) -> tuple[np.ndarray, np.ndarray]:
    days, n = np.full(len(items), TODAY - 1), np.ones(len(items), np.int64)
    return habits(days, np.array(items, np.int64), n, TODAY)


def test_a_score_is_the_share_of_the_nearest_habits_by_their_cosines_squared() -> None:
    found = alike().scores("somebody", *own(0, 1))
    rarity = np.log1p(5 / (1 + np.array([3, 3, 1, 1, 1, 1, 0])))
    cosine = np.sqrt(2 * rarity[0] ** 2 / (2 * rarity[0] ** 2 + rarity[2] ** 2))  # of ann, and bob; eve's is 1
    every = 1 + 2 * cosine**2
    common = (2 * cosine**2 / 3 + 1 / 2) / every
    lone = cosine**2 / 3 / every
    assert found == pytest.approx([common, common, lone, lone, 0.0, 0.0, 0.0])


def test_nobody_is_their_own_neighbour() -> None:
    assert alike().scores("cid", *own(4, 5)).tolist() == [0.0] * 7
    assert alike().scores("eve", *own(0, 1)) == pytest.approx([1 / 3, 1 / 3, 1 / 6, 1 / 6, 0.0, 0.0, 0.0])


def test_who_has_nothing_in_common_with_anybody_or_no_past_has_no_scores() -> None:
    assert not alike().scores("somebody", *own(6)).any()
    assert not alike().scores("somebody", *NOTHING).any()
    assert not alike({}).scores("ann", *own(0)).any()
    assert not alike({"dee": []}).scores("ann", *own(0)).any()


def test_only_the_nearest_count_and_of_equals_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "NEAREST", 2)
    found = alike().scores("somebody", *own(0, 1))
    assert found[2] > 0 and found[3] == 0.0, "eve and, of ann and bob, ann"
    monkeypatch.setattr(peers, "NEAREST", 1)
    assert np.flatnonzero(alike().scores("somebody", *own(0, 1))).tolist() == [0, 1]


def test_habits_fade_and_what_comes_later_is_not_known() -> None:
    ann = [(TODAY - HALF_LIFE, 0, 3), (TODAY, 1, 9), (TODAY - 2 * HALF_LIFE, 2, 2), (TODAY - HALF_LIFE, 0, 1)]
    items, worth = habits(*np.array(ann).T, TODAY)
    assert items.tolist() == [0, 2] and worth.tolist() == [2_000_000, 500_000]
    found = Peers.of(histories_of({"ann": ann}), 7, TODAY).scores("bob", *own(0))
    assert found == pytest.approx([0.8, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])


def test_the_order_of_rows_and_events_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    took = {f"u{n}": [(int(d), int(i), 1) for d, i in rng.integers(0, (400, 40), (30, 2))] for n in range(30)}
    turned = {user: took[user][::-1] for user in list(took)[::-1]}
    one, other = histories_of(took), pa.concat_tables([histories_of({user: turned[user]}) for user in turned])
    mine = habits(*np.array(took["u3"]).T, 300)
    first, second = (Peers.of(rows, 40, 300).scores("u3", *mine) for rows in (one, other))
    assert first.any() and np.array_equal(first, second)


def test_scores_are_those_of_all_pairs_of_users_worked_out_at_once() -> None:
    rng = np.random.default_rng(0)
    number = rng.poisson(rng.random(40) * 0.5, (150, 40))
    users = [f"u{n:03d}" for n in range(150)]
    rows = {
        user: [(TODAY - 1, int(i), int(mine[i])) for i in np.flatnonzero(mine)]
        for user, mine in zip(users, number, strict=True)
    }
    one = Peers.of(histories_of(rows), 40, TODAY)
    worth = number * np.rint(1e6 * 0.5 ** (1 / HALF_LIFE))
    pull = np.log1p(worth / 1e6) * np.log1p(150 / (1 + (number > 0).sum(axis=0)))
    pull /= np.maximum(np.linalg.norm(pull, axis=1, keepdims=True), 1e-12)
    cosine, share = pull @ pull.T, worth / np.maximum(worth.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(cosine, 0.0)
    for user in range(150):
        near = np.lexsort((np.arange(150), -cosine[user].round(9)))[: peers.NEAREST]
        weight = cosine[user, near] ** 2
        expected = weight @ share[near] / max(weight.sum(), 1e-12)
        mine = np.flatnonzero(number[user])
        assert one.scores(users[user], mine, worth[user, mine]) == pytest.approx(expected)
