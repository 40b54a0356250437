"""Recipes: the settings that tuning chooses. A ranker's version carries its own, and its lists are made by it."""

from collections.abc import Mapping
from typing import Any

from jobs.models.selection import Variety
from jobs.runtime.args import JobArgs
from jobs.runtime.site import Ranker, Settings, Share, Site
from jobs.tables.contracts import SOURCES
from jobs.tables.lake import Lake

TUNED = "tuned"  # the document of a study's best
LISTS = "lists"  # the document of how tonight's lists are composed


class Recipe(Settings):
    """How the ranker learns, which sources' candidates it sees and ranks, and how its lists are composed."""

    ranker: Ranker
    sources: tuple[str, ...]
    variety: Variety
    variety_weight: Share

    @classmethod
    def of_site(cls, site: Site) -> "Recipe":
        """What the site file says."""
        how = site.ranking
        return cls(ranker=site.ranker, sources=SOURCES, variety=how.variety, variety_weight=how.variety_weight)

    def document(self, site: Site) -> dict[str, Any]:
        """What a version's ``recipe.json`` says of retrieval and lists, and for which settings of the site."""
        lists = {"site": site.digest, "variety": self.variety, "variety_weight": self.variety_weight}
        return {"sources": list(self.sources), LISTS: lists}


def tonight(args: JobArgs, lake: Lake) -> tuple[Recipe, str]:
    """The recipe of tonight's challenger and where it is from.

    That is the best of the latest study before tonight, as long as the site file is as it was then.
    """
    for day in reversed(lake.dates(TUNED)):
        document = lake.manifest(TUNED, day)["document"]
        if document["site"] == args.site.digest:
            return Recipe.model_validate(document["recipe"]), f"tuned on {day}"
    return Recipe.of_site(args.site), "the site file"


def with_lists(site: Site, lists: Mapping[str, Any] | None) -> Site:
    """The site with lists composed as tuned; as it is where they were tuned for other settings, or never."""
    if not lists or lists["site"] != site.digest:
        return site
    names = ("variety", "variety_weight")
    ranking = site.ranking.model_copy(update={name: lists[name] for name in names})
    return site.model_copy(update={"ranking": ranking})
