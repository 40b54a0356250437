"""Nights of a world whose effects are known: does learning from what was shown pay, and are the intervals honest?

In this process, without Spark and services, but with the night's own models, gate, calibration and lists. Each policy
publishes its lists night after night, and learns from what its own lists brought about. The adjusted policy keeps its
control group; so that its true lift is known, everybody has a twin in the other group, whom no model sees.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.check_effects import checks
from jobs.models import champions, effect_figures, engine, lift, lists, ranker, refutation, simulated_log, simulation
from jobs.models.decisions import CHALLENGER, CHAMPION, RELEVANCE, decide_uplift
from jobs.models.lists import ListSettings
from jobs.models.metrics import as_document
from jobs.models.scoring import EffectModel, Scorer
from jobs.models.selection import Mix
from jobs.models.simulated_log import Log, Masks
from jobs.models.simulation import Floats, Places, Scenario, State, World
from jobs.runtime.errors import DataError, SetupError
from jobs.runtime.site import Effects, Outcome, Ranker, Ranking, Site
from jobs.tables.contracts import FEATURES, PAIR_COUNTS

USERS, ITEMS, WARM_UP = 400, 48, 8
FIRST = date(2024, 1, 1)
Shown = tuple[Places, Floats]  # place of each item in each user's list, and the propensity logged with it


def simulated_site(scenario: Scenario, seed: int) -> Site:
    """Settings of the simulated site; a night has few trials, so its trees are few, too."""
    return Site(
        site="simulated",
        seed=seed,
        outcome=Outcome(event_types=("purchase",)),
        list_length=8,
        holdout_share=0.1,
        explore_share=0.0 if scenario == "no_exploration" else 0.1,
        history_periods=8,
        ranking=Ranking(max_per_category=8),
        ranker=Ranker(label_windows=4, rounds=60, max_depth=4),
        effects=Effects(trees=30, max_depth=3, max_trials=30_000, bootstrap=100),
    )


@dataclass
class Arm:
    """Everybody's life under one kind of list."""

    state: State
    log: Log


@dataclass
class Run:
    """One policy in one world: its site's log, and the arms that its users and their twins are in."""

    world: World
    site: Site
    seed: int
    arms: list[Arm]
    member: NDArray[np.int64]  # the arm each user is really in
    log: Log
    champion: EffectModel | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def draws(self, night: int, what: int) -> np.random.Generator:
        """The luck of a night, the same for all policies and twins."""
        return np.random.default_rng([self.seed, 2, night + WARM_UP, what])

    def live(self, night: int, shown: Sequence[Shown]) -> tuple[list[Floats], list[Floats]]:
        """One period: in each arm, every outcome's chance and what showing added to it, 0 where inactive."""
        size = self.world.organic.shape
        active = self.draws(night, 0).random(size[0]) < self.world.activity
        luck = self.draws(night, 1).random(size)
        chances, added = [], []
        happened = []
        for arm, (places, logged) in zip(self.arms, shown, strict=True):
            effect = simulation.effect(self.world, arm.state, places)
            chance = simulation.without_showing(self.world, arm.state) + effect
            outcome, seen = active[:, None] & (luck < chance), active[:, None] & (places > 0)
            arm.state = arm.state.after(outcome, seen)
            arm.log.add(active, seen, outcome, logged)
            chances.append(chance * active[:, None])
            added.append(effect * active[:, None])
            happened.append((seen, outcome, logged))
        real = (np.stack(part)[self.member, np.arange(size[0])] for part in zip(*happened, strict=True))
        self.log.add(active, *real)
        return chances, added


def top(wanted: Floats, length: int) -> Places:
    """Places of each user's best items."""
    order = np.argsort(-wanted, axis=1, kind="stable")[:, :length]
    places = np.zeros(wanted.shape, np.int8)
    np.put_along_axis(places, order, np.arange(1, length + 1, dtype=np.int8)[None, :], axis=1)
    return places


def unlogged(places: Places) -> Shown:
    """Lists of a policy that says nothing of its propensities."""
    return places, np.full(places.shape, np.nan)


def best_sellers(run: Run, night: int, noise: float = 0.0) -> list[Shown]:
    """What sold most in the last four periods; ``noise`` deals the lists of the time before anything was learnt."""
    sold = np.array(run.log.outcome[-4:] or [np.zeros(run.world.organic.shape, bool)]).sum(axis=(0, 1))
    wanted = np.log1p(sold) + noise * run.draws(night, 3).gumbel(size=run.world.organic.shape)
    return [unlogged(top(wanted, run.site.list_length)) for _ in run.arms]


def at_random(run: Run, night: int) -> list[Shown]:
    """Any items."""
    return [unlogged(top(run.draws(night, 4).random(run.world.organic.shape), run.site.list_length))]


def by_truth(run: Run, night: int) -> list[Shown]:
    """The items whose showing adds most at the first place: the bound nobody can beat tonight."""
    everywhere = np.ones(run.world.organic.shape, np.int8)
    return [unlogged(top(simulation.effect(run.world, run.arms[0].state, everywhere), run.site.list_length))]


def by_relevance(run: Run, night: int) -> list[Shown]:
    """The night's ranker."""
    fitted = ranker.fit(simulated_log.labelled(run.log, run.site), run.site.ranker, run.site.seed)
    frame = simulated_log.candidates(run.log, run.log.features(len(run.log)))
    relevance = fitted.relevance(ranker.matrix(frame)).reshape(run.world.organic.shape)
    return [unlogged(top(relevance, run.site.list_length))]


def adjusted(run: Run, night: int) -> list[Shown]:
    """The night: ranker, effects, gate, scores, lists; arm 0 is the control group."""
    site, how = run.site, run.site.effects
    fitted = ranker.fit(simulated_log.labelled(run.log, site), site.ranker, site.seed)
    trials = simulated_log.trials(run.log, site)
    if lack := engine.short_arm(trials.trials, how.folds):
        raise DataError(f"night {night}: {lack}")
    fit = engine.fit(trials, FEATURES, *simulated_log.fit_prior(run.log, site), how, site.seed)
    figures = effect_figures.figures(trials, fit, how.bootstrap, site.seed)
    documents = {name: as_document(figure) for name, figure in figures.items()}
    made = checks({"metrics": documents, "refutations": refutation.attempts(trials.trials, how, site.seed)}, how)
    failed = [check["name"] for check in made if not check["passed"]]
    model = EffectModel(fit.propensity, fit.effects, how.folds, how.overlap_eps, FEATURES)
    said = champions.says(run.champion, trials) if run.champion else None
    qini = champions.champion_qini(said, trials, fit.predicted, how, site.seed) if said else None
    decision = decide_uplift(failed, qini, "" if run.champion else "there is no champion")
    if decision.chosen == CHALLENGER:
        run.champion = model
    elif decision.chosen == CHAMPION and run.champion:
        model = run.champion
    scorer = Scorer(fitted.booster, fitted.calibration, model)
    settings = ListSettings(
        site.site,
        FIRST + timedelta(weeks=night),
        Mix(site.list_length, site.ranking.max_per_category),
        site.holdout_share,
        site.explore_share,
        effects_hold=decision.chosen != RELEVANCE,
    )
    shown = [arm_lists(run, arm, scorer, settings, held_out=number == 0) for number, arm in enumerate(run.arms)]
    run.rows[-1] |= {name: documents[name]["value"] for name in ("overlap_share", "identified_share", "average_effect")}
    run.rows[-1] |= {"gate": settings.effects_hold, "chosen": decision.chosen, "failed": ", ".join(failed)}
    return shown


def arm_lists(run: Run, arm: Arm, scorer: Scorer, how: ListSettings, held_out: bool) -> Shown:
    """Everybody's list and propensities, had all users lived in ``arm``."""
    frame = simulated_log.candidates(run.log, simulated_log.features(arm.log, run.log))
    counts = Masks.of(arm.log, run.log, run.site.history_periods).counts()
    scores = scorer.score(frame.assign(**{name: counts[:, place] for place, name in enumerate(PAIR_COUNTS)}))
    users, items = run.world.organic.shape
    places, logged = np.zeros((users, items), np.int8), np.full((users, items), np.nan)
    for user, picked in enumerate(lists.pick(scores, how)):
        listed = lists.user_lists(scores.iloc[user * items : (user + 1) * items], picked, how, held_out).published
        item = listed.index.to_numpy() - user * items
        places[user, item] = listed["rank"].to_numpy(np.int8)
        logged[user, item] = listed["propensity"].to_numpy()
    return places, logged


MAKERS: dict[str, Callable[[Run, int], list[Shown]]] = {
    "adjusted": adjusted,
    "relevance": by_relevance,
    "popularity": best_sellers,
    "random": at_random,
    "oracle": by_truth,
}


def parse(scenario: str, policies: str) -> tuple[Scenario, list[str]]:
    """Scenario and comma-separated policies of the command line; SetupError names what there is."""
    if scenario not in simulation.SCENARIOS:
        raise SetupError(f"--scenario {scenario!r}: there is {', '.join(simulation.SCENARIOS)}")
    names = list(dict.fromkeys(name.strip() for name in policies.split(",")))
    unknown = [name for name in names if name not in MAKERS]
    if unknown:
        raise SetupError(f"--policies {', '.join(map(repr, unknown))}: there is {', '.join(MAKERS)}")
    return cast(Scenario, scenario), names


def start(scenario: Scenario, policy: str, seed: int) -> Run:
    """A world at the end of its warm-up, in which best sellers were shown with much chance."""
    site = simulated_site(scenario, seed)
    world = simulation.make_world(scenario, USERS, ITEMS, seed)
    arms = [Arm(State.new(world), Log(world.category)) for _ in range(2 if policy == "adjusted" else 1)]
    member = np.zeros(USERS, np.int64)
    if policy == "adjusted":
        member[~lists.held_out(simulated_log.names("u", USERS), site.site, site.holdout_share)] = 1
    run = Run(world, site, seed, arms, member, Log(world.category))
    for night in range(-WARM_UP, 0):
        run.live(night, best_sellers(run, night, noise=1.0))
    return run


def drift_after(scenario: Scenario, nights: int) -> int | None:
    """The last night before persuasion is dealt anew, or None."""
    return nights // 2 if scenario == "drift" else None


def simulate(scenario: Scenario, policy: str, seed: int, nights: int) -> list[dict[str, Any]]:
    """One row a night: what was true, and for ``adjusted`` what the night thought and measured.

    incremental: what showing added; outcomes: all expected outcomes; listed: those of the items that were shown.
    """
    run = start(scenario, policy, seed)
    before = np.array(run.log.outcome).sum(axis=(0, 2)).astype(float)
    people, true = np.arange(USERS), 0.0
    for night in range(nights):
        if night == drift_after(scenario, nights):
            run.world = run.world.drifted(np.random.default_rng([seed, 5]))
        run.rows.append({"scenario": scenario, "policy": policy, "seed": seed, "night": night + 1})
        chances, added = run.live(night, MAKERS[policy](run, night))
        chance, effect = (np.stack(part)[run.member, people] for part in (chances, added))
        listed = chance * run.log.shown[-1]
        run.rows[-1] |= {"incremental": effect.sum(), "outcomes": chance.sum(), "listed": listed.sum()}
        if policy == "adjusted":
            tonight = float((chances[1] - chances[0]).sum() / USERS)
            true += tonight
            run.rows[-1] |= measured(run, before, night + 1, tonight, true)
    return run.rows


def measured(run: Run, before: Floats, nights: int, tonight: float, true: float) -> dict[str, float]:
    """The nightly lift with its interval, the running lift with its sequence, and the truth of both."""
    treated = run.member == 1
    latest = run.log.outcome[-1].sum(axis=1).astype(float)
    total = np.array(run.log.outcome[-nights:]).sum(axis=(0, 2)).astype(float)
    one, many = (lift.difference(count, before, treated) for count in (latest, total))
    assert one is not None and many is not None, "the simulated control group has users"
    out = {"lift_true": tonight, "running_true": true}
    for name, figure in (("lift", one.interval()), ("running", many.always_valid(nights))):
        out |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return out


def simulate_all(
    scenario: Scenario, policies: Sequence[str], seeds: Sequence[int], nights: int, advance: Callable[[int], None]
) -> pd.DataFrame:
    """Every policy in every world, one process a core; the rows of ``simulate``.

    ``advance`` is told of every world that a policy has lived through.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    context = get_context("spawn")
    free: Queue[int] = context.Queue()
    for core in cores:
        free.put(core)
    work = [(scenario, policy, seed, nights) for policy in policies for seed in seeds]
    with ProcessPoolExecutor(len(cores) or 1, context, _pin, (free, bool(cores))) as pool:
        rows: list[dict[str, Any]] = []
        for lived in pool.map(simulate, *zip(*work, strict=True)):
            rows += lived
            advance(1)
        return pd.DataFrame(rows)


def _pin(free: "Queue[int]", possible: bool) -> None:
    """One core for this worker, so that its models train on one thread and workers do not wait for each other."""
    if possible:
        os.sched_setaffinity(0, {free.get()})
