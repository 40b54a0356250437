"""The site file: one strict YAML document a site. An unknown key or an impossible value stops before anything runs."""

import hashlib
import json
import math
import re
from collections.abc import Hashable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from jobs.runtime.errors import SetupError
from jobs.runtime.graphs import DEFAULT_GRAPHS

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
DAYS = "sun mon tue wed thu fri sat"
CRON = ((0, 59, ""), (0, 23, ""), (1, 31, "l"), (1, 12, MONTHS), (0, 7, DAYS))  # of each field: lowest, highest, names


def _cron(value: str) -> str:
    fields = value.split()
    if len(fields) != 5 or not all(map(_is_cron_field, fields, CRON)):
        raise ValueError("must be a cron expression of five fields, such as '0 2 * * *'")
    return value


def _is_cron_field(text: str, allowed: tuple[int, int, str]) -> bool:
    low, high, names = allowed
    pieces = [
        re.fullmatch(r"(?:\*|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)(?:/[1-9][0-9]*)?", one) for one in text.split(",")
    ]
    words = [word.lower() for piece in pieces if piece for word in piece.groups() if word]
    known = [low <= int(word) <= high if word.isdigit() else word in names.split() for word in words]
    return all(pieces) and all(known)


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("must be a time zone of the IANA database, such as 'Europe/Berlin'")
    return value


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Cron = Annotated[str, AfterValidator(_cron)]
Zone = Annotated[str, AfterValidator(_zone)]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
EventType = Annotated[str, Field(min_length=1, max_length=100)]
Edge = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47} -> [a-z][a-z0-9_]{0,47}$")]
REPEATING = (
    "ecommerce",
    "health",
)  # domains in which the same is wanted again: bread, exercise; not a course or a loan


class Settings(BaseModel):
    """Frozen settings that forbid unknown keys and numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Warehouse(Settings):
    """Schemas read from and written to."""

    raw_schema: Identifier = Field("raw", description="schema your tables are read from")
    mart_schema: Identifier = Field("mart", description="schema the lists are written to")

    @model_validator(mode="after")
    def _apart(self) -> "Warehouse":
        if self.raw_schema == self.mart_schema:
            raise ValueError("raw_schema and mart_schema must differ")
        if any(name.startswith("pg_") or name == "information_schema" for name in (self.raw_schema, self.mart_schema)):
            raise ValueError("pg_... and information_schema belong to PostgreSQL; name schemas of your own")
        return self


class Outcome(Settings):
    """What a trial hopes for: an event of one of these types inside the window."""

    event_types: tuple[EventType, ...] = Field(min_length=1, description="event types that are the outcome")
    window_days: int = Field(7, ge=1, le=91, description="days after showing in which an outcome counts")
    value: Literal["value", "quantity", "rating"] | None = Field(
        None, description="interactions column with the value of an outcome"
    )


class Clean(Settings):
    """Bounds beyond which an event is quarantined, not believed."""

    max_events_per_user_day: int = Field(500, ge=1, description="more than this in one day is bot-like")
    max_value: float = Field(10_000.0, gt=0, description="a larger value or price is an error of the source")
    max_quantity: float = Field(100_000.0, gt=0, description="a larger quantity is an error of the source")


class Opinions(Settings):
    """How feedback is read. An event type counts only where ``feedback`` gives it a weight."""

    votes: tuple[EventType, ...] = Field(("like", "dislike"), description="a user has one vote an item: the last")
    ratings: tuple[EventType, ...] = Field(("rating",), description="votes whose weight is scaled by their `rating`")
    rating_low: float = Field(1.0, description="the rating that counts -1")
    rating_high: float = Field(5.0, description="the rating that counts 1")
    comments: tuple[EventType, ...] = Field(
        ("comment",), description="events whose weight is scaled by the sentiment of their `text`, in English"
    )
    double_click_seconds: float = Field(2.0, ge=0, description="the same again within it was meant once")
    max_per_user_day: int = Field(100, ge=1, description="more feedback in one day is bot-like")

    @model_validator(mode="after")
    def _possible(self) -> "Opinions":
        if not self.rating_low < self.rating_high:
            raise ValueError("rating_low must be below rating_high")
        kinds = [*self.votes, *self.ratings, *self.comments]
        if len(set(kinds)) < len(kinds):
            raise ValueError("an event type is one of votes, ratings and comments, once")
        return self


class Profiles(Settings):
    """User profiles: segments by clustering, factors by matrix factorisation, preferences and habits."""

    segments: int = Field(6, ge=2, le=50, description="segments at most; as many are made as give the best silhouette")
    factors: int = Field(32, ge=2, le=256, description="latent factors of users and items")
    factor_iterations: int = Field(6, ge=1, le=50, description="rounds of the factorisation")
    time_zone: Zone = Field("UTC", description="by whose clock parts of the day and weekdays are told")
    channel: Identifier | None = Field(
        None, description="interactions column with where an event happened, such as a store or an app; default: none"
    )


class Candidates(Settings):
    """How many items each retrieval source brings a user."""

    repeat: int = Field(200, ge=1, description="items the user had an outcome on before")
    popularity: int = Field(
        60,
        ge=1,
        description="items most users had an outcome on, and for new users as many of all categories; at least "
        "list_length",
    )
    trending: int = Field(20, ge=0, description="items with more outcomes in the last week than in the weeks before")
    item_cf: int = Field(60, ge=0, description="items like those of the user")
    user_cf: int = Field(30, ge=0, description="items that users of the most similar habits take")
    factorisation: int = Field(60, ge=0, description="items with factors like the user's")
    content: int = Field(
        30, ge=0, description="items the user never had, like those of the user by text, category and attributes"
    )
    new_items: int = Field(
        10, ge=0, description="the same of items that fewer than min_item_users had, none over eight weeks ago"
    )
    content_dimensions: int = Field(
        32, ge=1, le=512, description="of the items' vectors, by which content and mmr compare them"
    )
    small_catalogue: int = Field(
        2_000, ge=0, description="up to this many items, all are candidates: an effect needs no earlier outcome"
    )
    min_item_users: int = Field(20, ge=1, description="an item needs this many users with an outcome to be a candidate")


class Ranker(Settings):
    """The XGBoost ranker."""

    objective: Literal["binary:logistic", "rank:ndcg"] = Field("binary:logistic", description="what XGBoost optimises")
    label_windows: int = Field(
        8, ge=2, le=26, description="past windows learnt from, each made once; the latest is the test"
    )
    rounds: int = Field(300, ge=1, description="trees at most")
    early_stopping_rounds: int = Field(20, ge=1, description="trees without gain after which training ends")
    ranking_rounds: int = Field(
        60, ge=0, description="trees of rank:ndcg, at half the learning rate, after those of binary:logistic"
    )
    max_depth: int = Field(5, ge=1, le=12, description="depth of a tree")
    learning_rate: float = Field(0.1, gt=0, le=1, description="share of each tree that is added")
    negative_share: float = Field(0.2, gt=0, le=1, description="share of negatives kept in training, weighted back")
    margin: float = Field(
        0.01, ge=0, le=1, description="NDCG@10 by which a new ranker may at worst lag behind the champion"
    )
    distributed_rows: int | None = Field(
        None,
        ge=1,
        description="labelled candidates above which Spark executors train it (xgboost.spark); default: never",
    )
    workers: int = Field(2, ge=1, description="Spark tasks that train at once; the cluster must have a core for each")


class CausalGraph(Settings):
    """Edges between ``shown``, ``outcome``, feature groups and latent causes; jobs/models/causal_graph.py reads it."""

    edges: tuple[Edge, ...] = Field(min_length=1, description="cause -> effect")
    latent: tuple[Identifier, ...] = Field((), description="nodes of the edges that nobody measured")

    @model_validator(mode="after")
    def _latent_nodes(self) -> "CausalGraph":
        stray = set(self.latent) - {node for edge in self.edges for node in edge.split(" -> ")}
        if stray:
            raise ValueError(f"latent names no node of the edges: {', '.join(sorted(stray))}")
        if {"shown", "outcome"} & set(self.latent):
            raise ValueError("shown and outcome are in the log, so they cannot be latent")
        return self


Learner = Literal["s", "t", "x", "r", "dr", "causal_forest"]
Compared = Literal[Learner, "item_difference", "pair_difference"]


class Effects(Settings):
    """The effect engine."""

    learner: Learner = Field("t", description="CausalML learner that corrects the prior")
    compare: tuple[Compared, ...] = Field(
        get_args(Compared), description="learners judged beside it every night; an empty list for none"
    )
    folds: int = Field(4, ge=2, le=10, description="folds of users: nobody is predicted by a model that saw them")
    trees: int = Field(60, ge=1, description="trees of a base learner")
    max_depth: int = Field(3, ge=1, le=10, description="depth of a tree; those of a causal forest are twice as deep")
    learning_rate: float = Field(0.3, gt=0, le=1, description="share of each tree that is added")
    max_trials: int = Field(1_000_000, ge=1_000, description="trials the learner sees, sampled with known weights")
    overlap_eps: float = Field(0.02, gt=0, lt=0.5, description="a propensity outside [eps, 1-eps] is no overlap")
    min_identified_share: Share = Field(0.2, description="share of trials with overlap below which the gate falls")
    graph: CausalGraph | None = Field(None, description="what causes what; default: the domain's graph")
    instrument: Identifier | None = Field(
        None, description="trial column, explored or a feature, that reaches the outcome by showing only"
    )
    bootstrap: int = Field(200, ge=20, description="resamples of users behind an interval")


class Ranking(Settings):
    """What the list is sorted by and how it is composed."""

    objective: Literal["effect", "value"] = Field("effect", description="rank by effect, or by effect times price")
    max_per_category: int = Field(5, ge=1, description="items of one category in a list")
    brand: Identifier = Field("brand", description="items column that max_per_brand counts by")
    max_per_brand: int | None = Field(None, ge=1, description="default: no cap; an item without a brand never counts")
    variety: Literal["none", "mmr", "calibrated"] = Field(
        "none", description="mmr: unlike items by their text; calibrated: the user's own shares of categories"
    )
    variety_weight: Share = Field(0.3, description="what variety counts for beside the score, which has the rest")
    owned: Literal["allowed", "never"] | Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="items a user had an outcome on: listed again, never, or not for so many days; default: allowed in "
        "ecommerce and health, never elsewhere",
    )


class Tuning(Settings):
    """The search for better settings of ranker, retrieval and list building."""

    schedule: Cron = Field("0 6 * * 0", description="when its DAG runs, UTC, as cron has it")
    trials: int = Field(30, ge=1, description="settings tried in one study")
    windows: int = Field(
        2, ge=1, le=12, description="latest label windows each is judged in; earlier ones are learnt from"
    )


class Drift(Settings):
    """How far the population stability index of a column may be from the last published nights, beyond chance."""

    warn: float = Field(0.1, gt=0, description="the report and the task's log say so")
    fail: float = Field(0.25, gt=0, description="the night fails, and the version published before stays")
    nights: int = Field(4, ge=1, le=30, description="last published nights compared with")
    since: date | None = Field(
        None, description="no night before it is compared with: the day of a change that was meant"
    )

    @model_validator(mode="after")
    def _levels(self) -> "Drift":
        if not self.warn < self.fail:
            raise ValueError("warn must be below fail")
        return self


class Site(Settings):
    """One site: what its outcome is, where its tables are, how its night runs."""

    site: Identifier = Field(description="name of the site and of its file")
    domain: Literal["ecommerce", "education", "finance", "social", "health"] = Field(
        "ecommerce", description="chooses the default causal graph"
    )
    seed: int = Field(
        0, ge=0, le=1_000_000_000, description="of everything drawn at random: the same night twice is the same"
    )
    warehouse: Warehouse = Warehouse()
    outcome: Outcome
    feedback: dict[EventType, float] = Field({}, description="weight of other event types, negative for dislikes")
    clicks: tuple[EventType, ...] = Field(("click",), description="event types that are a click on a shown item")
    period_days: int = Field(7, ge=1, le=91, description="length of one trial")
    period_anchor: date | None = Field(None, description="a day on which a period starts; default: the run date")
    history_periods: int = Field(12, ge=2, le=52, description="periods learnt from")
    list_length: int = Field(20, ge=1, le=10_000, description="places in a list")
    holdout_share: Share = Field(0.05, description="users who keep the relevance list: the measured control group")
    explore_share: Share = Field(0.05, description="places filled at random with a known probability")
    late_days: int = Field(3, ge=0, le=60, description="how far back a night looks for late events")
    keep_days: int = Field(
        100, ge=1, description="lists of nights longer before the published one are dropped; the published one never"
    )
    schedule: Cron = Field("0 2 * * *", description="when the night runs, UTC, as cron has it")
    clean: Clean = Clean()
    opinions: Opinions = Opinions()
    profiles: Profiles = Profiles()
    candidates: Candidates = Candidates()
    ranker: Ranker = Ranker()
    effects: Effects = Effects()
    ranking: Ranking = Ranking()
    tuning: Tuning = Tuning()
    drift: Drift = Drift()

    @model_validator(mode="after")
    def _possible(self) -> "Site":
        if self.ranking.objective == "value" and self.outcome.value is None:
            raise ValueError("ranking.objective is 'value' but outcome.value names no column")
        if self.keep_days < self.outcome.window_days:
            raise ValueError("keep_days must be at least outcome.window_days, or lists go before they are judged")
        if self.candidates.popularity < self.list_length:
            raise ValueError("candidates.popularity must be at least list_length, or new users get short lists")
        both = set(self.outcome.event_types) & set(self.feedback)
        if both:
            raise ValueError(f"feedback repeats outcome event types: {', '.join(sorted(both))}")
        return self

    @property
    def causal_graph(self) -> CausalGraph:
        """The declared causal graph, or the default of the domain."""
        return self.effects.graph or CausalGraph.model_validate(DEFAULT_GRAPHS[self.domain])

    @property
    def owned_days(self) -> float:
        """Days for which an item the user had an outcome on is not listed: 0 where it may be, infinite for never."""
        default = "allowed" if self.domain in REPEATING else "never"
        rule = self.ranking.owned or default
        return {"allowed": 0.0, "never": math.inf}[rule] if isinstance(rule, str) else float(rule)

    @property
    def digest(self) -> str:
        """sha256 of the settings in canonical JSON: part of version_id."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that comes twice: of two, YAML takes the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping of a node."""
        names = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in names:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} comes twice", key.start_mark)
            names.add(key.value)
        return super().construct_mapping(node, deep)


def _problem(error: Exception) -> str:
    """What is wrong and where, in one line; no piece of the file, in which a secret may have strayed."""
    said = str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        at = error.problem_mark
        said = f"{error.problem}, line {at.line + 1}, column {at.column + 1}"
    return " ".join(said.split())


def load_site(path: Path) -> Site:
    """The site of one YAML file; SetupError names the file, the key and what is wrong with it."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
        text = json.dumps(document, default=str)  # as JSON a list may be a tuple, and still no text a number
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SetupError(f"{path}: not YAML: {_problem(error)}") from None
    if not isinstance(document, dict):
        raise SetupError(f"{path}: a site file is a mapping of keys, starting with `site:` and `outcome:`")
    try:
        site = Site.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'site file'}: {_say(problem)}"
            for problem in error.errors(include_url=False)
        )
        raise SetupError(f"{path}: {' '.join(problems.split())}") from None
    if site.site != path.stem:
        raise SetupError(f"{path}: site: is {site.site!r}, but the file is named {path.stem!r}; make them the same")
    return site


def find_site(name: str, folder: Path) -> Site:
    """The site called ``name`` in ``folder``; SetupError lists the sites there are."""
    path = folder / f"{name}.yaml"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not path.exists():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise SetupError(f"no site {name!r} in {folder} (there: {there}); NIGHTLIFT_SITES names the folder")
    return load_site(path)


def _say(problem: object) -> str:
    assert isinstance(problem, dict)
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    return str(problem["msg"]).removeprefix("Value error, ")
