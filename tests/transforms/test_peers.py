"""Users are scored by what their nearest took, never by themselves."""

import numpy as np
import pandas as pd
import pytest

from jobs.transforms import peers
from jobs.transforms.peers import Peers

TOOK = {"ann": [0, 1, 2], "bob": [1, 0, 3], "cid": [4, 5], "dee": [], "eve": [0, 1]}


def alike() -> Peers:
    return Peers.of(pd.DataFrame({"user_id": list(TOOK)[::-1], "items": list(TOOK.values())[::-1]}), 7)


def test_a_score_is_the_share_of_the_nearest_by_their_cosines() -> None:
    found = alike().scores("somebody", np.array([0, 1]))
    ann = bob = 2 / (3 * 2) ** 0.5
    every = ann + bob + 1.0
    assert found == pytest.approx([1.0, 1.0, ann / every, bob / every, 0.0, 0.0, 0.0])


def test_nobody_is_their_own_neighbour() -> None:
    assert alike().scores("cid", np.array([4, 5])).tolist() == [0.0] * 7
    assert alike().scores("eve", np.array([0, 1])) == pytest.approx([1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 0.0])


def test_who_has_nothing_in_common_with_anybody_or_no_past_has_no_scores() -> None:
    assert not alike().scores("somebody", np.array([6])).any()
    assert not alike().scores("somebody", np.array([], dtype=np.int64)).any()
    assert not Peers.of(pd.DataFrame({"user_id": [], "items": []}), 7).scores("ann", np.array([0])).any()


def test_only_the_nearest_count_and_of_equals_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "NEAREST", 2)
    found = alike().scores("somebody", np.array([0, 1]))
    assert found[2] > 0 and found[3] == 0.0, "eve and, of ann and bob, ann"
    monkeypatch.setattr(peers, "NEAREST", 1)
    assert np.flatnonzero(alike().scores("somebody", np.array([0, 1]))).tolist() == [0, 1]


def test_scores_are_those_of_all_pairs_of_users_worked_out_at_once() -> None:
    rng = np.random.default_rng(0)
    took = rng.random((120, 40)) < rng.random(40) * 0.5
    rows = pd.DataFrame({"user_id": [f"u{n:03d}" for n in range(120)], "items": [np.flatnonzero(t) for t in took]})
    both = took.astype(float) @ took.T
    cosine = both / np.sqrt(np.outer(took.sum(axis=1), took.sum(axis=1)))
    np.fill_diagonal(cosine, 0.0)
    one = Peers.of(rows, 40)
    for user in range(120):
        near = np.lexsort((np.arange(120), -cosine[user]))[: peers.NEAREST]
        expected = cosine[user, near] @ took[near] / cosine[user, near].sum()
        assert one.scores(f"u{user:03d}", np.flatnonzero(took[user])) == pytest.approx(expected)
