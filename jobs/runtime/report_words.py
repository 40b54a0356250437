"""The report's words: figures, methods, refutations and reasons by the names the records have."""

METHODS = {
    "difference": "plain difference of outcome rates, shown minus not shown: what confounding makes of it",
    "aipw": "doubly robust (AIPW): adjusted for what was known before showing",
    "pooled": "pooled: the doubly robust estimate, shrunken towards the level above",
}
WORDS = {
    "average_effect": "average effect of showing, among trials with overlap",
    "qini": "Qini: area between the uplift curve and showing at random",
    "auuc": "AUUC: area under the uplift curve, not normalised",
    "autoc": "AUTOC: mean advantage of the best-ranked share over all trials",
    "dr_loss": "DR loss: mean squared distance of predicted effect and doubly robust score",
    "trials": "trials learnt from",
    "treated_share": "share of trials in which the item was shown",
    "brier": "Brier score of the propensity (0 is perfect)",
    "overlap_share": "share of trials with overlap",
    "identified_share": "share of trials with overlap and both arms of their item seen",
    "ess_treated": "effective sample size, shown",
    "ess_control": "effective sample size, not shown",
    "prior_slope": "calibration: how much of the prior's effect is kept",
    "near_slope": "calibration: how much of the difference of the pair's own rates is kept",
    "learner_slope": "calibration: how much of what the learner adds to the prior is kept",
    "promised_by_best_tenth": "predicted over found effect of the best tenth of trials: 1 keeps the promise",
    "balance_before": "largest standardised difference between the arms before weighting",
    "balance_after": "largest standardised difference between the arms after weighting",
    "ranker_brier": "Brier score of the calibrated relevance (0 is perfect)",
    "ranker_mean_ratio": "mean relevance over the observed outcome rate (1 is calibrated)",
    "candidate_recall": "share of later outcomes among the candidates: the ceiling of any ranking of them",
    "from_repeat_recall": "share of later outcomes that the user's own repeats bring",
    "from_popularity_recall": "share of later outcomes that popular items bring",
    "from_item_cf_recall": "share of later outcomes that neighbours of the user's items bring",
    "from_factorisation_recall": "share of later outcomes that the matrix factorisation brings",
    "from_trending_recall": "share of later outcomes that items on the rise bring",
    "from_category_popularity_recall": "share of later outcomes that the best of all categories bring new users",
    "from_user_cf_recall": "share of later outcomes that users who took the same items bring",
    "from_content_recall": "share of later outcomes that items like the user's by what they say of themselves bring",
    "from_new_recall": "share of later outcomes that new items bring, by what they say of themselves",
    "ranker_gini_10": "Gini coefficient of how often items are in a top ten, ranker (0 is all equally)",
    "ranker_novelty_10": "novelty of the ranker's top tens: mean bits of surprise at an item by its share of users",
    "ranker_diversity_10": "diversity of the ranker's top tens: one less the mean cosine of their items' vectors",
    "ranker_lead_popularity_ndcg_10": "NDCG@10 of the ranker less that of popularity",
    "ranker_lead_recency_ndcg_10": "NDCG@10 of the ranker less that of the recency-weighted count",
    "ranker_lead_own_counts_ndcg_10": "NDCG@10 of the ranker less that of the user's own counts",
    "ranker_lead_als_ndcg_10": "NDCG@10 of the ranker less that of the matrix factorisation",
    "ranker_coverage_10": "share of the catalogue in anybody's top ten, ranker",
    "popularity_coverage_10": "share of the catalogue in anybody's top ten, popularity",
    "recency_coverage_10": "share of the catalogue in anybody's top ten, recency",
    "test_users": "users with an outcome in the test window that are judged",
}
EFFECTS = frozenset({"average_effect"})  # of WORDS those that are effects
ESTIMATORS = {
    "AIPW": "doubly robust: propensity and outcome models; what the night learns from",
    "IPW": "propensity only, weights that sum to one",
    "partially linear": "double machine learning: outcome residual on treatment residual",
    "linear regression": "treatment, features and their products",
    "item mean difference": "adjusts for the item and nothing else",
    "instrumental variable": "two-stage least squares",
    "instrumental variable, doubly robust": "outcome models of CausalML's DRIV learner",
}
LEARNERS = {
    "s": "S-learner",
    "t": "T-learner",
    "x": "X-learner",
    "r": "R-learner",
    "dr": "DR-learner",
    "causal_forest": "causal forest",
    "item_difference": "item mean difference",
    "pair_difference": "pair difference, shrunken by one trial",
}
OFF_POLICY = {"ips": "IPS", "snips": "SNIPS", "dm": "direct method", "dr": "doubly robust"}
JUDGED = {
    "effect": "ranking by effect",
    "relevance": "ranking by relevance",
    "champion": "ranking by the champion's effect",
}
REFUTATIONS = {
    "placebo": (
        "Treatment replaced by one that did nothing. Its effect must be zero: the 99 % interval has to include 0.",
        lambda figure: figure["low"] <= 0.0 <= figure["high"],
        "It does: the engine finds no effect where there is none.",
        "It does not: the engine finds an effect where there is none.",
    ),
    "random_subset": (
        "Estimated again among a random 70 % of the users. It must stay about the same.",
        lambda figure: figure["stable"],
        "It does.",
        "It does not: a few users carry the estimate.",
    ),
    "random_common_cause": (
        "Estimated again with a feature of pure noise added. It must stay about the same.",
        lambda figure: figure["stable"],
        "It does.",
        "It does not: the estimate hangs on how the models happen to fit.",
    ),
}
REASONS = {
    "missing_key": "an id or time is missing",
    "duplicate": "a copy of a row that is kept",
    "long_id": "an id longer than the warehouse can look up",
    "long_category": "a category longer than the warehouse can look up",
    "unknown_user": "the user is not in the users table",
    "unknown_item": "the item is not in the items table",
    "future": "dated on or after the run date",
    "impossible_value": "the value is negative or above the site's max_value",
    "impossible_quantity": "the quantity is negative or above the site's max_quantity",
    "bad_propensity": "the logged propensity is not in (0, 1]",
    "bot_like": "a user with more events a day than a person makes",
    "impossible_rating": "a rating outside the site's scale, or none",
    "empty_comment": "a comment without text",
    "bot_feedback": "a user with more votes and comments a day than a person makes",
    "double_click": "the same pressed again a moment later",
    "overruled_vote": "a later vote of that day for the same item counts; votes says how many there were",
}
RANKING = {
    "ndcg_10": "NDCG@10",
    "recall_10": "recall@10",
    "precision_10": "precision@10",
    "hit_rate_10": "hit rate@10",
    "map_10": "MAP@10",
    "recall_100": "recall@100",
}
RANKERS = ("ranker", "popularity", "recency", "als")
