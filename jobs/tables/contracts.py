"""Schema, key and meaning of every lake table: what a job writes is what the next one reads."""

from collections.abc import Iterable

from jobs.tables.schema import Table


def _floats(names: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(names, "float32?")


# Every window ends before its as-of day. A feature that does not exist for a row (no earlier event) is null.
USER_FEATURES = (
    "user_days_since_last",
    "user_tenure_days",
    "user_active_days_28d",
    "user_active_days_91d",
    "user_outcomes_28d",
    "user_outcomes_91d",
    "user_value_28d",
    "user_value_91d",
    "user_items_91d",
    "user_votes_91d",
    "user_mean_vote",
)
ITEM_FEATURES = (
    "item_outcomes_7d",
    "item_outcomes_28d",
    "item_outcomes_91d",
    "item_buyers_28d",
    "item_buyers_91d",
    "item_trend",
    "item_days_since_last",
    "item_price",
    "item_shown_users_7d",
    "item_shown_users_28d",
    "item_voters",
    "item_mean_vote",
    "item_sentiment",
)
PAIR_FEATURES = (
    "outcomes_28d",
    "outcomes_91d",
    "outcomes_364d",
    "outcomes_decayed_28d",
    "outcomes_decayed_112d",
    "days_since_last",
    "mean_gap_days",
    "gap_ratio",
    "events_28d",
    "feedback",
    "vote",
    "votes",
    "sentiment",
    "shown_7d",
    "shown_28d",
    "days_since_shown",
    "category_outcomes_91d",
    "category_share_91d",
)
FEATURES = USER_FEATURES + ITEM_FEATURES + PAIR_FEATURES  # what both the ranker and the effect learners see
PAIR_COUNTS = ("treated", "treated_outcomes", "control", "control_outcomes")  # a pair's trials and outcomes by arm
LISTED = ("listed_position", "listed_score")  # jobs/transforms/listed.py: in the list before; the propensity's only
RHYTHM_FEATURES = (  # jobs/transforms/rhythm.py: how regularly the user returns to the item; days are active days' ages
    "decayed_14d",
    "decayed_56d",
    "decayed_224d",
    "decayed_364d",
    "decayed_share_14d",
    "decayed_share_28d",
    "decayed_share_56d",
    "decayed_share_112d",
    "decayed_share_224d",
    "decayed_share_364d",
    "weeks_4w",
    "weeks_8w",
    "weeks_13w",
    "weeks_26w",
    "weeks_52w",
    "week_share_8w",
    "week_share_26w",
    "outcome_days",
    "days_since_first",
    "own_gap_ratio",
    "latest_gap_days",
    "gap_variation",
    "rebuy_hazard",
    "active_days_since",
    "active_day_share",
    "active_gap_ratio",
    "decayed_rank",
    "share_of_user",
    "category_decayed_56d",
    "category_days_since",
    "category_decayed_share",
    "share_of_category",
    "expected_in_category_112d",
    "basket_size_91d",
    "items_28d",
    "new_share_28d",
    "item_rebuy_rate",
    "item_gap_days",
    "item_gap_ratio",
    "item_days_per_user",
    "item_new_users_56d",
    "item_trend_91d",
    "item_category_share_91d",
)
TASTE_FEATURES = ("item_price_position", "price_gap", "brand_share")  # jobs/transforms/taste.py: by price and brand
RETRIEVAL_FEATURES = (  # the ranker only
    "item_cf_score",
    "factor_score",
    "user_cf_share",
    "content_score",
    "popularity_rank",
    *RHYTHM_FEATURES,
    *TASTE_FEATURES,
)
SHOWN_POSITION = "shown_position"  # in the label window: the ranker is trained knowing it, and never scores by it
SOURCES = (
    "from_repeat",
    "from_popularity",
    "from_item_cf",
    "from_factorisation",
    "from_trending",
    "from_category_popularity",
    "from_user_cf",
    "from_content",
    "from_new",
)

_INTERACTION = {
    "event_id": "string",
    "user_id": "string",
    "item_id": "string",
    "event_type": "string",
    "event_ts": "timestamp",
    "value": "float64?",
    "quantity": "float64?",
    "rating": "float64?",
    "text": "string?",
    "session_id": "string?",
}
_EXPOSURE = {
    "exposure_id": "string",
    "user_id": "string",
    "item_id": "string",
    "exposed_at": "timestamp",
    "position": "int32?",
    "slate_id": "string?",
    "policy": "string?",
    "propensity": "float64?",
    "version_id": "string?",
}
_ITEM = {
    "item_id": "string",
    "category": "string?",
    "price": "float64?",
    "title": "string?",
    "description": "string?",
    "available_from": "timestamp?",
    "available_until": "timestamp?",
}


def _nullable(columns: dict[str, str]) -> dict[str, str]:
    return {name: kind.rstrip("?") + "?" for name, kind in columns.items()}


RAW_USERS = Table("raw_users", "Users as the warehouse has them.", {"user_id": "string?"}, ("user_id",), open=True)
RAW_ITEMS = Table("raw_items", "Items as the warehouse has them.", _nullable(_ITEM), ("item_id",), open=True)
RAW_INTERACTIONS = Table(
    "raw_interactions",
    "New events as the warehouse has them.",
    _nullable(_INTERACTION),
    ("event_id",),
    True,
    "event_ts",
)
RAW_EXPOSURES = Table(
    "raw_exposures",
    "New exposures as the warehouse has them.",
    _nullable(_EXPOSURE),
    ("exposure_id",),
    True,
    "exposed_at",
)

USERS = Table("users", "Clean users.", {"user_id": "string"}, ("user_id",), open=True)
ITEMS = Table(
    "items", "Clean items; an unknown category is 'unknown'.", _ITEM | {"category": "string"}, ("item_id",), True
)
INTERACTIONS = Table(
    "interactions",
    "Clean events. Of a user's votes for an item on a day the last is kept, votes says how many there were; valence is "
    "what a rating or a comment says, from -1 to 1, null where nobody knows; channel is the column profiles.channel "
    "names.",
    _INTERACTION | {"event_day": "date", "votes": "int32?", "valence": "float64?", "channel": "string?"},
    ("event_id",),
    False,
    "event_day",
)
EXPOSURES = Table(
    "exposures", "Clean exposures.", _EXPOSURE | {"exposed_day": "date"}, ("exposure_id",), False, "exposed_day"
)
QUARANTINE = Table(
    "quarantine",
    "Rows the cleaner did not believe, with the reason.",
    {"table": "string", "reason": "string", "key": "string?", "row": "string"},
    (),
)
CLEAN_COUNTS = Table(
    "clean_counts",
    "Rows in, kept and quarantined by table and reason (reason 'kept' and 'in' included).",
    {"table": "string", "reason": "string", "rows": "int64"},
    ("table", "reason"),
)

USER_FEATURE_TABLE = Table(
    "user_features",
    "Behaviour of a user before an as-of day.",
    {"user_id": "string", "as_of": "date"} | _floats(USER_FEATURES),
    ("user_id", "as_of"),
)
ITEM_FEATURE_TABLE = Table(
    "item_features",
    "Popularity, price and showing of an item before an as-of day; its price's percentile rank in its category, and "
    "whether it is available as the day begins.",
    {"item_id": "string", "as_of": "date", "category": "string"}
    | _floats(ITEM_FEATURES)
    | {"price_position": "float64?", "available": "bool"},
    ("item_id", "as_of"),
)
PAIR_DAYS = Table(
    "pair_days",
    "Daily aggregate of a user's events on an item; money in cents so that sums are exact. feedback and vote_change "
    "are what the day adds: a vote takes the place of the pair's last one. sentiment sums the comments that were read.",
    {
        "user_id": "string",
        "item_id": "string",
        "category": "string",
        "event_day": "date",
        "outcomes": "int64",
        "events": "int64",
        "feedback": "float64",
        "value_cents": "int64",
        "votes": "int64",
        "voters": "int64",
        "vote_change": "float64",
        "comments": "int64",
        "sentiment": "float64",
    },
    ("user_id", "item_id", "event_day"),
)
PAIR_SHOWN_DAYS = Table(
    "pair_shown_days",
    "Days on which an item was shown to a user: bit b of word w of days is 60 w + b + 1 days before the run date.",
    {"user_id": "string", "item_id": "string", "days": "int64s"},
    ("user_id", "item_id"),
)
PAIR_POSITIONS = Table(
    "pair_positions",
    "The best place at which an item was shown to a user on a day of the label windows, where places were logged.",
    {"user_id": "string", "item_id": "string", "exposed_day": "date", "position": "int32"},
    ("user_id", "item_id", "exposed_day"),
)
USER_TIMES = Table(
    "user_times",
    "Events of a user by day, quarter of an hour (UTC, 0 is the first of the day) and channel.",
    {"user_id": "string", "event_day": "date", "quarter": "int32", "channel": "string?", "events": "int64"},
    ("user_id", "event_day", "quarter", "channel"),
    False,
    "event_day",
)
USER_PROFILES = Table(
    "user_profiles",
    "A user's segment, its plain label, preferences (JSON) and factors (JSON).",
    {"user_id": "string", "segment": "int32", "segment_label": "string", "preferences": "string", "factors": "string?"},
    ("user_id",),
)
FACTORS = Table(
    "factors",
    "Latent factors of users and items by matrix factorisation on events before as_of (JSON array).",
    {"kind": "string", "id": "string", "as_of": "date", "factors": "string"},
    ("kind", "id", "as_of"),
)
ITEM_VECTORS = Table(
    "item_vectors",
    "What an item's text, category and attributes say, as a vector of length 1 (JSON array); items that say nothing"
    " have none.",
    {"item_id": "string", "vector": "string"},
    ("item_id",),
)
CANDIDATES = Table(
    "candidates",
    "Retrieved items of a user before an as-of day; label is the outcome in the window after it. Of rows without an "
    "outcome a share was kept; weight is one over it. Counts of the pair's trials and its place in the list before are "
    "those of the run date, and null before it; shown_position is the best place it was shown at in the label window.",
    {
        "user_id": "string",
        "item_id": "string",
        "as_of": "date",
        "category": "string",
        "label": "int32?",
        "weight": "float32",
    }
    | dict.fromkeys(SOURCES, "bool")
    | dict.fromkeys(PAIR_COUNTS, "int32?")
    | _floats(LISTED)
    | _floats([SHOWN_POSITION])
    | _floats(RETRIEVAL_FEATURES)
    | _floats(FEATURES),
    ("user_id", "item_id", "as_of"),
)
TRIALS = Table(
    "trials",
    "Sampled trials: one user, item and period; weight is one over the share sampled, explored 1 where a random slot "
    "showed the item.",
    {
        "user_id": "string",
        "item_id": "string",
        "period": "int32",
        "as_of": "date",
        "category": "string",
        "treated": "int32",
        "outcome": "int32",
        "logged_propensity": "float64?",
        "explored": "int32",
        "weight": "float64",
    }
    | _floats(LISTED)
    | _floats(FEATURES),
    ("user_id", "item_id", "period"),
)
PAIR_PERIODS = Table(
    "pair_periods",
    "Bit p set: shown / outcome in period p (0 = oldest). Sufficient statistics of a pair's trials.",
    {"user_id": "string", "item_id": "string", "shown": "int64", "outcome": "int64"},
    ("user_id", "item_id"),
)
USER_PERIODS = Table(
    "user_periods",
    "Bit p set: the user was active in period p.",
    {"user_id": "string", "active": "int64"},
    ("user_id",),
)
ITEM_PERIODS = Table(
    "item_periods",
    "Bit p set: the item could have been shown in period p; with its counts over all users' trials.",
    {
        "item_id": "string",
        "category": "string",
        "in_play": "int64",
        "treated": "int64",
        "treated_outcomes": "int64",
        "control": "int64",
        "control_outcomes": "int64",
    },
    ("item_id",),
)
SCORES = Table(
    "scores",
    "Relevance and effect of every candidate pair of the night; days since the user's last outcome on it.",
    {
        "user_id": "string",
        "item_id": "string",
        "category": "string",
        "category_share": "float64?",
        "relevance": "float64",
        "effect": "float64",
        "effect_low": "float64",
        "effect_high": "float64",
        "identified": "bool",
        "propensity_shown": "float64",
        "treated": "int32",
        "treated_outcomes": "int32",
        "control": "int32",
        "control_outcomes": "int32",
        "price": "float64?",
        "days_since_last": "float64?",
    },
    ("user_id", "item_id"),
)
RECOMMENDATIONS = Table(
    "recommendations",
    "The lists of the night, as DESIGN section 3 has them.",
    {
        "run_date": "date",
        "user_id": "string",
        "rank": "int32",
        "item_id": "string",
        "score": "float64",
        "relevance": "float64",
        "effect": "float64",
        "effect_low": "float64",
        "effect_high": "float64",
        "identified": "bool",
        "policy": "string",
        "propensity": "float64",
        "reason": "string",
        "ranker_version": "string",
        "uplift_version": "string?",
        "version_id": "string",
        "mlflow_run_id": "string",
    },
    ("user_id", "rank"),
)
RELEVANCE_LISTS = Table(
    "relevance_lists",
    "The list each user would have had by relevance alone.",
    {"user_id": "string", "rank": "int32", "item_id": "string", "relevance": "float64"},
    ("user_id", "rank"),
)
EXPLORED = Table(
    "explored",
    "Candidates drawn for random slots and candidates drawn and spared, with the effect the models promised.",
    {"user_id": "string", "item_id": "string", "shown": "bool", "effect": "float64", "version_id": "string"},
    ("user_id", "item_id"),
)
ITEM_EFFECTS = Table(
    "item_effects",
    "Effects by level (all, category, item, segment, segment and category) and method, with 90 % intervals.",
    {
        "level": "string",
        "key": "string",
        "method": "string",
        "estimate": "float64",
        "low": "float64",
        "high": "float64",
        "treated": "int64",
        "control": "int64",
        "overlap_share": "float64?",
        "identified": "bool",
    },
    ("level", "key", "method"),
)
DRIFT_SAMPLES = Table(
    "drift_samples",
    "A sample of the night's features, scores and effects: one row a column and sampled row.",
    {"column": "string", "value": "float32?"},
    (),
)
NIGHTS = Table(
    "nights",
    "One row: figures of the night beside the mean of the last published nights, null where there is none. A ratio, a "
    "difference, or the gap between intervals of the average effect in sizes of the effect.",
    dict.fromkeys(("users_ratio", "list_rows_ratio", "identified_share_change", "average_effect_gap"), "float64?"),
    (),
)
RUN_METRICS = Table(
    "run_metrics",
    "Figures of the night with their 90 % intervals where there is one.",
    {"metric": "string", "value": "float64", "low": "float64?", "high": "float64?"},
    ("metric",),
)
TABLES = {table.name: table for table in list(globals().values()) if isinstance(table, Table)}
