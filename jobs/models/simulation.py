"""A world whose effects are known: users who act on their own, and react to what they are shown.

In a period an active user has an outcome on an item with a probability of his own, which showing raises (or, in the
harmful scenario, lowers) by how persuasive the item is to him, less the further down the list it stands (position
bias) and the more often he has seen it lately (satiation). An outcome becomes a habit: it makes the next one more
likely, so what is recommended today looks relevant tomorrow (feedback loop). All arrays have shape (users, items)
unless said otherwise.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
Places = NDArray[np.int8]  # 0 = not shown, else the place in the list
Scenario = Literal["helpful", "null", "harmful", "drift", "no_exploration"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
POSITION_BIAS = 0.15
SATIATION, SATIATION_LEFT = 0.35, 0.5  # by how much a showing dulls the next, and the share left a period later
HABIT, HABIT_LEFT = 0.4, 0.7  # logits an outcome adds, and the share left a period later
CATEGORIES = 6


@dataclass(frozen=True)
class World:
    """What nobody but the simulator knows.

    Args:
        organic: log odds of an outcome without showing and without habit.
        persuasion: chance that a seen showing makes an outcome of none (or, below 0, none of an outcome).
        activity: probability that a user is active in a period, shape (users,).
        category: of each item, shape (items,).
    """

    organic: Floats
    persuasion: Floats
    activity: Floats
    category: NDArray[np.int64]

    def drifted(self, rng: np.random.Generator) -> "World":
        """The same world with the items' persuasion dealt anew."""
        return replace(self, persuasion=self.persuasion[:, rng.permutation(len(self.category))])


@dataclass(frozen=True)
class State:
    """What a user's past left behind."""

    habit: Floats
    seen: Floats

    @classmethod
    def new(cls, world: World) -> "State":
        """Nobody has done or seen anything yet."""
        return cls(np.zeros(world.organic.shape), np.zeros(world.organic.shape))

    def after(self, outcome: NDArray[np.bool_], shown: NDArray[np.bool_]) -> "State":
        """The state a period later."""
        return State(HABIT_LEFT * self.habit + HABIT * outcome, SATIATION_LEFT * self.seen + shown)


def make_world(scenario: Scenario, users: int, items: int, seed: int) -> World:
    """A world of a scenario: popular items, users with tastes, and persuasion that has nothing to do with either.

    harmful: most of the popular half of the items put off whom they are shown to, and nothing persuades.
    """
    rng = np.random.default_rng([seed, 1])
    category = np.arange(items) % CATEGORIES
    popular = rng.normal(-3.4, 0.9, items)
    taste = rng.normal(0.0, 0.8, (users, CATEGORIES))
    organic = popular + taste[:, category] + rng.normal(0.0, 0.3, (users, items))
    receptive = rng.gamma(2.0, 0.5, (users, CATEGORIES))[:, category]
    strength = 0.6 * rng.beta(0.5, 2.5, items)
    if scenario == "null":
        strength = np.zeros(items)
    elif scenario == "harmful":
        often = np.argsort(np.argsort(-popular)) < items / 2
        strength = np.where(often & (rng.random(items) < 0.8), -rng.uniform(0.4, 0.9, items), 0.0)
    return World(organic, np.clip(strength * receptive, -0.95, 0.8), rng.beta(6.0, 2.0, users), category)


def without_showing(world: World, state: State) -> Floats:
    """Probability of an outcome of an active user on an item that is not shown."""
    return expit(world.organic + state.habit)


def effect(world: World, state: State, places: Places) -> Floats:
    """What showing each item at ``places`` adds to the outcome probability of an active user; 0 where not shown."""
    noticed = np.where(places > 0, 1.0 / (1.0 + POSITION_BIAS * (places - 1.0)), 0.0)
    moved = world.persuasion * noticed * np.exp(-SATIATION * state.seen)
    alone = without_showing(world, state)
    return np.where(moved > 0, (1.0 - alone) * moved, alone * moved)
