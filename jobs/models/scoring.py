"""Scoring of candidate pairs, batch by batch, from models that were checked and travel as bytes."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from jobs.models import boosting, propensity, ranker, uplift
from jobs.models.boosting import Calibration
from jobs.models.doubly_robust import Z90
from jobs.models.folds import fold_of
from jobs.models.prior import BASE, COLUMNS, Posterior, Prior, pack
from jobs.models.propensity import Propensity, clip, seen_both
from jobs.models.uplift import Boosters, Learner, Outputs
from jobs.runtime.errors import DataError
from jobs.tables.contracts import FEATURES, LISTED, PAIR_COUNTS, SCORES, SOURCES

Floats = NDArray[np.float64]
MOST_KNOWN = 1_000_000  # posteriors kept at once: about 170 MB
PARTS = 6  # that an effect is put together of


def parts(posterior: Posterior, learnt: Floats, counts: NDArray[Any], off: Floats) -> Floats:
    """What an effect is put together of, shape (n, 6): posterior, difference of near rates, what the learner adds.

    Three columns for pairs seen shown and not shown, which speak for themselves, and three for those that rest on
    pooling: how much of a part is borne out differs. The first two are less ``off`` (n,), the ``doubt``.
    """
    three = np.column_stack([posterior.effect - off, posterior.near_difference - off, learnt])
    own = seen_both(counts)[:, None]
    return np.hstack([three * own, three * ~own])


def doubt(posterior: Posterior, counts: NDArray[Any], unsure: Floats) -> Floats:
    """How far the effects of pairs that were never left out, or never shown, may be off up or down; shape (n,).

    Who is always shown an item may want it anyway: his rate without showing lies between the posterior's, which is
    that of users who went without, and the item's rate when shown. Who is never shown it may not want it: his rate when
    shown lies between the item's rate without showing and the posterior's. (Monotone selection and response: who is
    shown wants it no less, and showing deters nobody; Manski and Pepper, Econometrica 2000, proposition 2.) The middle
    of such bounds has the least regret (Manski, "Identification for Prediction and Decision", 2007); the doubt is half
    their width, as far as it is ``unsure`` (n,) that the pair has overlap. ``counts`` (n, 4) are its own.
    """
    width = np.where(
        counts[:, 2] == 0,
        posterior.item_shown - posterior.not_shown,
        posterior.shown - posterior.item_not_shown,
    )
    return 0.5 * unsure * np.maximum(width, 0.0)


@dataclass(frozen=True)
class Effects:
    """From a pair's features and counts to its effect: prior, learner of what the prior misses, and their calibration.

    ``both_arms`` holds the items that were seen shown and not shown.
    """

    prior: Prior
    learner: Learner
    slopes: tuple[float, ...]  # how much of each of the ``parts`` is kept
    intercept: float
    error: float  # standard error of the calibrated mean
    both_arms: frozenset[str]

    def combine(self, posterior: Posterior, learnt: Floats, counts: NDArray[Any], unsure: Floats) -> Floats:
        """Effects, shape (n,): each part as far as the calibration trusts it, in the middle of what is in doubt."""
        made = parts(posterior, learnt, counts, doubt(posterior, counts, unsure))
        return np.clip(self.intercept + made @ np.array(self.slopes), -1.0, 1.0)

    def interval(
        self, posterior: Posterior, effect: Floats, counts: NDArray[Any], unsure: Floats
    ) -> tuple[Floats, Floats]:
        """90 % interval: the posterior's, moved with the effect and widened by the calibration's error and the doubt.

        These three have nothing to do with one another, so their squares add up. As far as it is ``unsure`` that a
        pair has overlap, its low end is that of the bounds, which is the worst case. Of the bounds is kept what the
        calibration keeps of pairs that rest on pooling.
        """
        below, above = (posterior.effect - posterior.low) * (1.0 - unsure), posterior.high - posterior.effect
        off = doubt(posterior, counts, unsure) * (self.slopes[3] + self.slopes[4])
        low, high = (np.hypot(np.hypot(np.maximum(side, 0.0), Z90 * self.error), off) for side in (below, above))
        return np.clip(effect - low, -1.0, 1.0), np.clip(effect + high, -1.0, 1.0)


class Known:
    """What item and counts alone say of pairs that are scored: the posterior, and what the learner's history view says.

    Most pairs share theirs with many others, so each is computed once for all pairs and batches. The prior is that of
    everybody, the user included, as is usual in empirical Bayes.
    """

    def __init__(self, effects: Effects) -> None:
        self.prior, self.learner, self.items = effects.prior, effects.learner, pd.Index(effects.prior.items)
        self.keys: NDArray[np.int64] = np.zeros(0, np.int64)
        self.own = np.zeros((0, len(COLUMNS)), np.float32)
        self.values: dict[str, Floats] = {}

    def __call__(self, items: ArrayLike, counts: NDArray[Any]) -> tuple[Posterior, NDArray[np.float32], Outputs]:
        """Of pairs (item ids (n,), counts (n, 4)): posterior, ``Posterior.matrix`` and the history view's outputs."""
        names = np.asarray(items, dtype=object)
        code = self.items.get_indexer(pd.Index(names)) + 1  # 0: an item that the prior does not know
        key = code * BASE**4 + pack(counts)
        distinct, first, place = np.unique(key, return_index=True, return_inverse=True)
        if len(self.keys) > MOST_KNOWN:
            self.keys, self.own, self.values = self.keys[:0], self.own[:0], {}
        new = ~np.isin(distinct, self.keys, assume_unique=True)
        if new.any():
            self._learn(distinct[new], names[first[new]], counts[first[new]])
        rows = np.searchsorted(self.keys, distinct)[place]
        found = {name: values[rows] for name, values in self.values.items()}
        posterior = Posterior(*(found.pop(field.name) for field in fields(Posterior)))
        return posterior, self.own[rows], found

    def _learn(self, keys: NDArray[np.int64], names: NDArray[Any], counts: NDArray[Any]) -> None:
        posterior = self.prior.posterior(np.full(len(keys), self.prior.everybody), names, counts)
        own = posterior.matrix(counts.astype(np.float32))
        more = {field.name: getattr(posterior, field.name) for field in fields(posterior)}
        more |= self.learner.outputs(uplift.HISTORY, own)
        every = np.concatenate([self.keys, keys])
        order = np.argsort(every, kind="stable")
        before = self.values or {name: np.zeros(0) for name in more}
        self.keys, self.own = every[order], np.concatenate([self.own, own])[order]
        self.values = {name: np.concatenate([before[name], values])[order] for name, values in more.items()}


@dataclass(frozen=True)
class Pairs:
    """What an effect model says of pairs: propensity, effect with its 90 % interval, identified; each of shape (n,)."""

    e: Floats
    effect: Floats
    low: Floats
    high: Floats
    identified: NDArray[np.bool_]


@dataclass(frozen=True)
class EffectModel:
    """An effect model as it is registered: propensity and effects of one night, with the folds they were fitted in."""

    propensity: Propensity
    effects: Effects
    folds: int
    overlap_eps: float
    adjusted: tuple[str, ...]  # the features of propensity and learner

    def predict(
        self,
        matrix: NDArray[np.float32],
        users: ArrayLike,
        items: ArrayLike,
        counts: NDArray[Any],
        listed: NDArray[np.float32],
        known: Known | None = None,
        nthread: int = 1,
    ) -> Pairs:
        """What it says of pairs, each by the fold that never saw the user.

        ``matrix`` has the columns ``adjusted``; ``users`` and ``items`` are ids (n,), ``counts`` (n, 4) the pairs' own
        and ``listed`` (n, 2) where they stood in the list before. With ``known`` (of its own effects, kept from one
        call to the next) the pairs are scored, not judged: their prior is that of everybody and the learner the mean of
        all folds'. Propensities stay those of the fold.
        """
        fold, effects = fold_of(users, self.folds), self.effects
        e = self.propensity.predict(propensity.columns(matrix, counts, listed), fold, nthread)
        clipped = clip(e, self.overlap_eps)
        if known is None:
            posterior = effects.prior.posterior(fold, items, counts)
            seen = uplift.columns(matrix, self.adjusted, posterior.matrix(counts.astype(np.float32)))
            learnt = effects.learner.predict(seen, clipped, fold, nthread)
        else:
            posterior, own, by_history = known(items, counts)
            seen = uplift.columns(matrix, self.adjusted, own)
            said = effects.learner.outputs(uplift.ALL, seen, nthread), by_history
            learnt = uplift.averaged(effects.learner.recipe, said, clipped)
        chance = self.propensity.overlap_chance(e, counts, self.overlap_eps)
        unsure = propensity.unsure(chance, counts)
        effect = effects.combine(posterior, learnt, counts, unsure)
        interval = effects.interval(posterior, effect, counts, unsure)
        return Pairs(e, effect, *interval, self.identified(e, chance, items, counts))

    def identified(self, e: Floats, chance: Floats, items: ArrayLike, counts: NDArray[Any]) -> NDArray[np.bool_]:
        """Pairs with overlap, and whose own trials or whose item were seen in both arms; shape (n,).

        ``e`` is their estimated propensity, ``chance`` their ``overlap_chance``.
        """
        own = seen_both(counts)
        both_arms = pd.Series(np.asarray(items, dtype=object)).isin(self.effects.both_arms).to_numpy()
        return propensity.has_overlap(e, chance, counts, self.overlap_eps) & (own | both_arms)

    def files(self) -> dict[str, bytes]:
        """The model as files that carry no code: boosters, the prior's weights, and a recipe of how to use them."""
        effects, learner, seen = self.effects, self.effects.learner, list(uplift.names(self.adjusted))
        recipe = {
            "recipe": learner.recipe,
            "meaning": uplift.RECIPES[learner.recipe],
            "adjusted": list(self.adjusted),
            "folds": self.folds,
            "overlap_eps": self.overlap_eps,
            "propensity_columns": list(propensity.names(self.adjusted)),
            "propensity_calibration": self.propensity.calibration.document(),
            "propensity_strength": self.propensity.strength,
            "columns": seen,
            "views": {view: len(seen[columns]) for view, columns in uplift.VIEWS.items()},
            "items": list(effects.prior.items),
            "both_arms": sorted(effects.both_arms),
            "slopes": list(effects.slopes),
            "intercept": effects.intercept,
            "error": effects.error,
        }
        files = {"recipe.json": json.dumps(recipe, sort_keys=True).encode(), "prior.npy": effects.prior.document()}
        files |= {f"propensity-{k}.ubj": raw for k, raw in enumerate(self.propensity.boosters)}
        folds = enumerate(learner.folds)
        return files | {
            f"effect-{k}-{view}-{part}.ubj": raw
            for k, views in folds
            for view, boosters in views.items()
            for part, raw in boosters.items()
        }

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> "EffectModel":
        """The model of its registered files; DataError where its columns or parts are not those of now."""
        recipe = json.loads(files["recipe.json"])
        adjusted = tuple(recipe.get("adjusted", ()))  # older models name neither these nor the propensity's columns
        seen = list(uplift.names(adjusted))
        now = list(propensity.names(adjusted)), seen
        if not set(adjusted) <= set(FEATURES) or (recipe.get("propensity_columns"), recipe["columns"]) != now:
            raise DataError("it was fitted on other columns than are counted now")
        if len(recipe["slopes"]) != PARTS:
            raise DataError("its effects are put together of other parts than now")
        if recipe.get("views") != {view: len(seen[columns]) for view, columns in uplift.VIEWS.items()}:
            raise DataError("its learner has other views than now")
        folds = range(recipe["folds"])
        learnt: tuple[dict[str, Boosters], ...] = tuple({view: {} for view in uplift.VIEWS} for _ in folds)
        for name, raw in files.items():
            if name.startswith("effect-"):
                k, view, part = name.removeprefix("effect-").removesuffix(".ubj").split("-")
                learnt[int(k)][view][part] = raw
        calibration = Calibration.of(recipe["propensity_calibration"])
        return cls(
            Propensity(tuple(files[f"propensity-{k}.ubj"] for k in folds), calibration, recipe["propensity_strength"]),
            Effects(
                Prior.of(recipe["items"], files["prior.npy"]),
                Learner(recipe["recipe"], learnt),
                tuple(recipe["slopes"]),
                recipe["intercept"],
                recipe["error"],
                frozenset(recipe["both_arms"]),
            ),
            recipe["folds"],
            recipe["overlap_eps"],
            adjusted,
        )


@dataclass(frozen=True)
class Scorer:
    """Ranker and effect model; small enough to travel to every worker."""

    booster: bytes
    calibration: Calibration
    model: EffectModel
    sources: tuple[str, ...] = SOURCES  # of the candidates that are scored

    @classmethod
    def of(cls, ranker_files: Mapping[str, bytes], uplift_files: Mapping[str, bytes]) -> "Scorer":
        """The scorer of two models' registered files."""
        recipe = json.loads(ranker_files["recipe.json"])
        return cls(
            ranker_files["ranker.ubj"],
            Calibration.of(recipe["calibration"]),
            EffectModel.of(uplift_files),
            tuple(recipe.get("sources", SOURCES)),  # older rankers had them all
        )

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """``rows`` of a frame."""
        return self.rows(pa.RecordBatch.from_pandas(frame, preserve_index=False), Known(self.model.effects)).to_pandas()

    def rows(self, batch: pa.RecordBatch, known: Known) -> pa.RecordBatch:
        """SCORES rows of candidates with their pairs' counts; missing features are NaN, missing counts 0."""
        model, every = self.model, boosting.arrow_matrix(batch, ranker.COLUMNS)
        matrix = every[:, [ranker.COLUMNS.index(name) for name in model.adjusted]]
        listed = boosting.arrow_matrix(batch, LISTED)
        counts = np.nan_to_num(boosting.arrow_matrix(batch, PAIR_COUNTS)).astype(np.int32)
        users, items = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("user_id", "item_id"))
        said = model.predict(matrix, users, items, counts, listed, known)
        columns = {
            "user_id": batch.column("user_id"),
            "item_id": batch.column("item_id"),
            "category": batch.column("category"),
            "category_share": batch.column("category_share_91d").cast(pa.float64()),
            "relevance": ranker.Fitted(self.booster, self.calibration, 0).relevance(every),
            "effect": said.effect,
            "effect_low": said.low,
            "effect_high": said.high,
            "identified": said.identified,
            "propensity_shown": said.e,
            **dict(zip(PAIR_COUNTS, counts.T, strict=True)),
            "price": batch.column("item_price").cast(pa.float64()),
            "days_since_last": batch.column("days_since_last").cast(pa.float64()),
        }
        arrays = [each if isinstance(each, pa.Array) else pa.array(each) for each in columns.values()]
        return pa.RecordBatch.from_arrays(arrays, schema=SCORES.arrow_schema)

    def batches(self) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        """A function for Spark's ``mapInArrow``."""
        whole = set(SOURCES) <= set(self.sources)

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            known = Known(self.model.effects)
            for batch in batches:
                if not whole:
                    batch = batch.filter(pa.array(ranker.kept(batch.select(list(SOURCES)).to_pandas(), self.sources)))
                if batch.num_rows:
                    yield self.rows(batch, known)

        return run
