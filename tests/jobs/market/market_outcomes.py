"""What simulated users really did after a day, straight from the events: the truth's other half."""

from __future__ import annotations

import numpy as np

from jobs.market import accounts, events, posts, social
from jobs.market.catalogue import Items
from jobs.market.traits import N_CATEGORIES, VERBS, Block, Market


def outcomes(market: Market, traits: Block, day: int) -> dict[str, np.ndarray]:
    """Per user (n,): outcomes in windows from `day` on; NaN where a task's question makes no
    sense. Only users who do something in the month before are asked whether they churn, and only
    the others whether they return."""
    n, items = traits.n, Items.of(market)
    sums = {name: np.zeros(n) for name in ("purchase_7d", "purchase_30d", "spend_30d", "churn_28d",
            "return_90d", "payment_fraud_30d", "login_fraud_30d", "transfer_fraud_30d", "clicks",
            "seen", "before", *(f"{v}_7d" for v in VERBS[:5]))}  # fmt: skip
    met = np.zeros((n, N_CATEGORIES))
    stars = np.full(n, np.nan)
    sentiment = np.full(n, np.nan)
    for k in range(-28, 90):
        d = day + k
        e, o = events.engagements_of(market, traits, d), events.orders_of(market, traits, d)
        r, a = (
            events.reviews_of(market, traits, d),
            accounts.account_events_of(market, traits, d),
        )
        p, f = posts.posts_of(market, traits, d), social.follows_of(market, traits, d)
        active = np.zeros(n)
        for rows in (e, o, r, a, p, f):
            np.add.at(active, rows.user, 1)
        if k < 0:
            sums["before"] += active
            continue
        sums["return_90d"] += active
        if k < 28:
            sums["churn_28d"] += active
        if k < 7:
            for v in range(5):
                np.add.at(sums[f"{VERBS[v]}_7d"], e.user[e.verb == v], 1)
            np.add.at(sums["seen"], e.user[e.verb == VERBS.index("ad_view")], 1)
            np.add.at(sums["clicks"], e.user[e.verb == events.AD_CLICK], 1)
            np.add.at(sums["purchase_7d"], o.user, 1)
        if k < 30:
            np.add.at(sums["purchase_30d"], o.user, 1)
            np.add.at(sums["spend_30d"], o.user, o.quantity * items.price[o.item] * 100)
            for kind, name in enumerate(("login", "payment", "transfer")):
                marked = (a.kind == kind) & (a.marked_after > 0)
                np.add.at(sums[f"{name}_fraud_30d"], a.user[marked], 1)
            on_item = e.kind == events.ITEM
            for user, item in (
                (e.user[on_item], e.target[on_item]),
                (o.user, o.item),
                (r.user, r.item),
            ):
                np.add.at(met, (user, items.category[item]), 1)
        order = np.argsort(r.second, kind="stable")
        for user, given in zip(r.user[order], r.stars[order], strict=True):
            if np.isnan(stars[user]):
                stars[user] = given
                if k < 30:
                    sentiment[user] = 1 + (given > 2) + (given > 3)
    return _as_labels(sums, met, stars, sentiment)


def _as_labels(
    sums: dict[str, np.ndarray], met: np.ndarray, stars: np.ndarray, sentiment: np.ndarray
) -> dict[str, np.ndarray]:
    active = sums["before"] > 0
    labels = {name: sums[name] for name in sums if name.endswith("_7d") and name != "purchase_7d"}
    labels["spend_30d"] = sums["spend_30d"]
    for name in ("purchase_7d", "purchase_30d", "payment_fraud_30d", "login_fraud_30d",
                 "transfer_fraud_30d"):  # fmt: skip
        labels[name] = (sums[name] > 0).astype(float)
    labels["churn_28d"] = np.where(active, sums["churn_28d"] == 0, np.nan)
    labels["return_90d"] = np.where(active, np.nan, sums["return_90d"] > 0)
    labels["ad_click_7d"] = np.where(sums["seen"] > 0, sums["clicks"] > 0, np.nan)
    labels["next_rating_90d"] = stars
    for k, name in enumerate(("negative", "neutral", "positive")):
        labels[f"sentiment_next_30d_is_{name}"] = np.where(
            np.isnan(sentiment), np.nan, sentiment == k + 1
        )
    for c in range(N_CATEGORIES):
        labels[f"interests_30d_is_c{c}"] = (met[:, c] > 0).astype(float)
    return labels
