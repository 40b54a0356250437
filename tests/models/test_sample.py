"""Trials as arrays: what is known of a pair before a trial, and whether it was shown after it."""

import numpy as np
import pandas as pd

from jobs.models import sample
from jobs.models.sample import Masks
from tests.models.nights import ADJUSTED, Night, night


def test_counts_are_of_the_periods_before_and_shown_next_of_the_one_after():
    shown, outcome, active, in_play = 0b0101, 0b0110, 0b0111, 0b1111
    pairs = pd.DataFrame({"user_id": ["u"], "item_id": ["i"], "shown": [shown], "outcome": [outcome]})
    frame = pd.DataFrame({"user_id": ["u", "u", "u", "v"], "item_id": ["i", "i", "i", "i"]})
    masks = Masks.of(frame, pairs, pd.Series({"u": active, "v": 0b0011}), pd.Series({"i": in_play}))
    period = np.array([0, 1, 2, 0])
    assert masks.counts_before(period).tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]]
    assert masks.ahead(period).tolist() == [[2, 1], [1, 1], [1, 0], [0, 2]]
    assert masks.shown_after(period).tolist() == [0, 1, -1, 0]


def test_pair_user_or_item_that_no_table_knows_has_no_trial():
    pairs = pd.DataFrame({"user_id": ["u"], "item_id": ["i"], "shown": [3], "outcome": [3]})
    frame = pd.DataFrame({"user_id": ["u", "w"], "item_id": ["j", "i"]})
    masks = Masks.of(frame, pairs, pd.Series({"u": 3}), pd.Series({"i": 3}))
    assert masks.counts_before(np.array([1, 1])).sum() == 0
    assert masks.shown_after(np.array([0, 0])).tolist() == [-1, -1]


def test_counts_of_a_night_are_those_of_its_trials_counted_one_by_one():
    made = night()
    trials, frame = made.sample(), made.tables["trials"]
    latest = frame[frame["period"] == 6].index[:200]
    earlier = frame[frame["period"] < 6]
    for row in latest:
        mine = earlier[(earlier["user_id"] == frame["user_id"][row]) & (earlier["item_id"] == frame["item_id"][row])]
        assert trials.counts[row, 0] - before(made, frame.loc[row]) == mine["treated"].sum()
    after = frame.set_index(["user_id", "item_id", "period"])["treated"]
    keys = zip(frame["user_id"], frame["item_id"], frame["period"] + 1, strict=True)
    assert trials.shown_next.tolist() == after.reindex(list(keys)).fillna(-1).astype(int).tolist()


def before(made: Night, row: pd.Series) -> int:
    """Times shown in the periods that no trial is drawn from."""
    pairs = made.tables["pair_periods"]
    mine = pairs.loc[(pairs["user_id"] == row["user_id"]) & (pairs["item_id"] == row["item_id"]), "shown"]
    return int(mine.sum() & 0b1111).bit_count()


def test_arrays_have_the_adjusted_columns_in_order_and_all_take_the_same_rows():
    made = night()
    frame, trials = made.tables["trials"], made.sample()
    assert np.array_equal(trials.trials.matrix, frame[list(ADJUSTED)].to_numpy(np.float32))
    part = trials.take(np.array([5, 2]))
    assert part.item.tolist() == frame["item_id"].iloc[[5, 2]].tolist()
    assert part.trials.users.tolist() == frame["user_id"].iloc[[5, 2]].tolist()
    assert part.segment.tolist() == [trials.segment[5], trials.segment[2]] and part.instrument is None


def test_instrument_is_the_column_that_the_site_names():
    made = night()
    frame = made.tables["trials"]
    masks = Masks(*(np.zeros(len(frame), np.int64) for _ in range(3)))
    trials = sample.as_trials(frame, ADJUSTED, 3)
    found = sample.of_frame(frame, trials, masks, pd.Series(dtype=str), "explored")
    assert found.instrument is not None and found.instrument.sum() == frame["explored"].sum() > 1_000
    assert set(found.segment) == {"unknown"}
