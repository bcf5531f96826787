"""The definitions, written as plainly as can be, to compare the clever ones with."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts.features import NAMED_RATIOS, RATIOS
from contracts.measures import (
    EVENTS,
    MEASURES,
    SEQUENCE_LENGTH,
    WINDOWS,
)
from contracts.tasks import LABEL_REACH
from tests.jobs.features.naive_text import rated_words, text, word_stars
from tests.jobs.features.scored_texts import said_of
from tests.jobs.features.worlds import IDS, World

Rows = dict[str, list[dict[str, Any]]]


def newest(world: World, name: str, key: str, as_of: date) -> dict[str, dict[str, Any]]:
    versions: dict[str, dict[str, Any]] = {}
    by_time = sorted(world.known(name, as_of), key=lambda r: (r["occurred_at"], r["landed_on"]))
    for row in by_time:
        versions[row[key]] = row
    return versions


def author(world: World, engagement: dict[str, Any]) -> str | None:
    """Who wrote the post, if it landed before the engagement did."""
    day = engagement["landed_on"]
    written = [
        (p["landed_on"], p["user_key"])
        for p in world.rows["posts"]
        if p["post_id"] == engagement["target_id"]
        and day - timedelta(days=90) <= p["landed_on"] <= day
    ]
    return min(written)[1] if written else None


def receiver(world: World, engagement: dict[str, Any]) -> str | None:
    if engagement["target_kind"] == "user":
        whom = engagement["target_id"]
    elif engagement["target_kind"] == "post":
        whom = author(world, engagement)
    else:
        return None
    return None if whom == engagement["user_key"] else whom


def features(world: World, as_of: date) -> dict[str, dict[str, Any]]:
    """Features of every known user, straight from the clean rows; words instead of hashes."""
    known = {name: world.known(name, as_of) for name in EVENTS}
    categories = {i: r["category_id"] for i, r in newest(world, "items", "item_id", as_of).items()}
    versions = newest(world, "users", "user_key", as_of)
    received = [(receiver(world, e), e) for e in known["engagements"]]
    everybody = {r["user_key"] for rows in known.values() for r in rows if r["user_key"]}
    everybody |= {r["user_key"] for r in world.known("users", as_of)}
    everybody |= {whom for whom, e in received if whom and e["verb"] in GIVES}
    everybody |= {whom for whom, e in received if whom}
    of_users = {}
    above = word_stars(within(known, as_of, max(WINDOWS))["reviews"])
    for user in everybody:
        mine = {n: [r for r in rows if r["user_key"] == user] for n, rows in known.items()}
        got = [e for whom, e in received if whom == user]
        row: dict[str, Any] = {}
        for window in (*WINDOWS, None):
            inside = within(mine, as_of, window)
            suffix = "all" if window is None else f"{window}d"
            for name, value in measures(
                world, inside, within({"": got}, as_of, window)[""]
            ).items():
                row[f"{name}_{suffix}"] = value
            row[f"n_orders_{suffix}"] = len(bought_orders(inside))
            if window is not None:
                row |= distincts(world, user, inside, categories, suffix)
        row |= moments(world, user, mine, got, as_of)
        for name in ("country", "attributes"):
            row[name] = versions[user][name] if user in versions else None
        row |= sequence(mine, as_of)
        row |= text(within(mine, as_of, max(WINDOWS))["posts"])
        row |= rated_words(row["text_tokens"], above)
        of_users[user] = row
    items = item_counts(known, as_of)
    for user, row in of_users.items():
        row |= graph(world, as_of, user, of_users)
        row |= recent_items(row["seq_item"], items, categories)
        row |= ratios(row)
    return of_users


GIVES = ("like", "comment", "share")


def within(rows: Rows, as_of: date, window: int | None) -> Rows:
    return {
        n: [
            r
            for r in some
            if window is None or r["occurred_at"].date() >= as_of - timedelta(days=window)
        ]
        for n, some in rows.items()
    }


def item_mean_milli(world: World, review: dict[str, Any]) -> int:
    """Of the reviews of the item that had landed in the 90 days before, and two of 4 stars."""
    day = review["landed_on"]
    stars = [4, 4] + [
        r["stars"]
        for r in world.rows["reviews"]
        if r["item_id"] == review["item_id"] and day - timedelta(days=90) <= r["landed_on"] < day
    ]
    return 1000 * sum(stars) // len(stars)


def measures(world: World, rows: Rows, got: list[dict[str, Any]]) -> dict[str, int]:
    """The measures of `user_days`, over rows of any stretch of time."""
    bought = [r for r in rows["orders"] if r["kind"] == "purchase"]
    undone = [r for r in rows["orders"] if r["kind"] != "purchase"]
    engaged, reviews, account = rows["engagements"], rows["reviews"], rows["account_events"]
    ads = [r for r in engaged if r["target_kind"] == "ad"]
    others = [r for r in engaged if r["target_kind"] != "ad"]
    paid = [r["amount_minor"] for r in account if r["kind"] == "payment"]
    sent = [r["amount_minor"] for r in account if r["kind"] == "transfer"]
    logins = [r for r in account if r["kind"] == "login"]
    failed = Counter(
        (r["occurred_at"].date(), r["landed_on"]) for r in logins if not r["succeeded"]
    )
    values = {
        "n_events": sum(len(some) for some in rows.values()),
        "n_order_lines": len(bought),
        "n_units": sum(r["quantity"] for r in bought),
        "spend_minor": sum(r["amount_minor"] for r in bought),
        "n_undone_lines": len(undone),
        "undone_minor": sum(r["amount_minor"] for r in undone),
        "n_views": sum(r["verb"] == "view" for r in others),
        "n_likes": sum(r["verb"] == "like" for r in engaged),
        "n_comments": sum(r["verb"] == "comment" for r in engaged),
        "n_shares": sum(r["verb"] == "share" for r in engaged),
        "n_searches": sum(r["verb"] == "search" for r in engaged),
        "n_clicks": sum(r["verb"] == "click" for r in others),
        "n_ad_views": sum(r["verb"] == "view" for r in ads),
        "n_ad_clicks": sum(r["verb"] == "click" for r in ads),
        "n_likes_received": sum(e["verb"] == "like" for e in got),
        "n_replies_received": sum(e["verb"] in ("comment", "share") for e in got),
        "n_posts": len(rows["posts"]),
        "n_posts_without_text": sum(r["text"] is None for r in rows["posts"]),
        "n_links_posted": sum((r["text"] or "").count("<url>") for r in rows["posts"]),
        **said_of(world.rows.get("content_scores", ()), rows["posts"]),
        "n_reviews": len(reviews),
        "sum_stars": sum(r["stars"] for r in reviews),
        "stars_above_items": sum(1000 * r["stars"] - item_mean_milli(world, r) for r in reviews),
        "n_negative_reviews": sum(r["stars"] <= 2 for r in reviews),
        "n_positive_reviews": sum(r["stars"] >= 4 for r in reviews),
        "n_follows": sum(r["kind"] == "follow" for r in rows["follows"]),
        "n_unfollows": sum(r["kind"] == "unfollow" for r in rows["follows"]),
        "n_logins": len(logins),
        "n_failed_logins": sum(failed.values()),
        "n_login_bursts": sum(n >= 3 for n in failed.values()),
        "n_payments": len(paid),
        "paid_minor": sum(paid),
        "max_payment_minor": max(paid, default=0),
        "n_transfers": len(sent),
        "transferred_minor": sum(sent),
        "max_transfer_minor": max(sent, default=0),
    }
    assert set(values) == {m.name for m in MEASURES}
    return values


def bought_orders(rows: Rows) -> set[str]:
    return {r["order_id"] for r in rows["orders"] if r["kind"] == "purchase"}


def distincts(
    world: World, user: str, rows: Rows, categories: dict[str, Any], suffix: str
) -> dict[str, int]:
    items = {r["item_id"] for r in rows["orders"] if r["kind"] == "purchase"}
    items |= {r["target_id"] for r in rows["engagements"] if r["target_kind"] == "item"}
    items |= {r["item_id"] for r in rows["reviews"]}
    people = {r["target_id"] for r in rows["engagements"] if r["target_kind"] == "user"}
    people |= {author(world, r) for r in rows["engagements"] if r["target_kind"] == "post"}
    people |= {r["followed_key"] for r in rows["follows"] if r["kind"] == "follow"}
    people |= {r["counterpart_key"] for r in rows["account_events"]}
    things = {
        "items": items,
        "categories": {categories.get(i) for i in items},
        "counterparts": people - {user},
        "devices": {r["device_key"] for r in rows["account_events"]},
    }
    active = {r["occurred_at"].date() for some in rows.values() for r in some}
    return {
        f"n_active_days_{suffix}": len(active),
        **{f"n_distinct_{name}_{suffix}": len(of - {None}) for name, of in things.items()},
    }


def verb(table: str, row: dict[str, Any]) -> str:
    if table == "orders":
        return "order" if row["kind"] == "purchase" else "undo"
    if table == "engagements":
        on_ad = {"view": "ad_view", "click": "ad_click"}
        return on_ad.get(row["verb"], row["verb"]) if row["target_kind"] == "ad" else row["verb"]
    if table == "account_events":
        return "failed_login" if row["kind"] == "login" and not row["succeeded"] else row["kind"]
    return row["kind"] if table == "follows" else {"posts": "post", "reviews": "review"}[table]


def item(table: str, row: dict[str, Any]) -> str:
    if table == "engagements":
        return row["target_id"] if row["target_kind"] == "item" else ""
    return row.get("item_id", "")


def events(rows: Rows) -> list[tuple[Any, ...]]:
    return sorted(
        (r["occurred_at"], r[IDS[n]], verb(n, r), item(n, r), r.get("amount_minor") or 0)
        for n, some in rows.items()
        for r in some
    )


def moments(
    world: World, user: str, mine: Rows, got: list[dict[str, Any]], as_of: date
) -> dict[str, int | None]:
    done = events(mine)
    signed_up = [r["occurred_at"] for r in world.known("users", as_of) if r["user_key"] == user]
    own_tiles = {(r["occurred_at"].date(), r["landed_on"]) for rows in mine.values() for r in rows}
    of_others = [
        datetime(d.year, d.month, d.day, tzinfo=UTC)
        for e in got
        if ((d := e["occurred_at"].date()), e["landed_on"]) not in own_tiles
    ]

    def since(times: list[datetime]) -> int | None:
        return (as_of - times[-1].date()).days if times else None

    return {
        "days_since_first_seen": since(
            sorted([*(e[0] for e in done), *signed_up, *of_others], reverse=True)
        ),
        "days_since_last_seen": since([e[0] for e in done]),
        **{
            f"days_since_last_{what}": since([e[0] for e in done if e[2] == what])
            for what in ("order", "review", "post", "login")
        },
    }


def sequence(mine: Rows, as_of: date) -> dict[str, Any]:
    midnight = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC)
    last = [e for e in events(mine) if e[2] != "ad_view"][-SEQUENCE_LENGTH:]
    return {
        "seq_verb": [e[2] for e in last],
        "seq_item": [e[3] for e in last],
        "seq_hours": [int((midnight - e[0]).total_seconds() // 3600) for e in last],
        "seq_amount_minor": [e[4] for e in last],
    }


def followed(world: World, as_of: date) -> set[tuple[str, str]]:
    latest: dict[tuple[str, str], tuple[Any, ...]] = {}
    for r in world.rows["follows"]:
        at = r["valid_from"]
        if at is not None and at.date() < as_of and r["landed_on"] < as_of:
            pair, fact = (r["user_key"], r["followed_key"]), (at, r["follow_id"], r["kind"])
            latest[pair] = max(latest.get(pair, fact), fact)
    return {pair for pair, fact in latest.items() if fact[2] == "follow"}


def graph(world: World, as_of: date, user: str, rows: dict[str, dict[str, Any]]) -> dict[str, int]:
    edges = followed(world, as_of)
    mine = [b for a, b in edges if a == user]

    def total(name: str) -> int:
        return sum(rows[b][name] for b in mine if b in rows)

    return {
        "n_following": len(mine),
        "n_followers": sum(b == user for _, b in edges),
        "n_mutual": sum((b, user) in edges for b in mine),
        "followed_active_7d": sum(rows[b]["n_events_7d"] > 0 for b in mine if b in rows),
        "followed_orders_30d": total("n_orders_30d"),
        "followed_orders_90d": total("n_orders_90d"),
        "followed_spend_minor_90d": total("spend_minor_90d"),
        "followed_reviews_90d": total("n_reviews_90d"),
        "followed_stars_90d": total("sum_stars_90d"),
    }


def item_counts(known: Rows, as_of: date) -> dict[str, Counter[str]]:
    """Statistics of each item over the windows that users' features are made of."""
    counts = {}
    month, quarter = within(known, as_of, 30), within(known, as_of, 90)
    counts["engagements_30d"] = Counter(
        r["target_id"] for r in month["engagements"] if r["target_kind"] == "item" and r["user_key"]
    )
    counts["order_lines_30d"] = Counter(
        r["item_id"] for r in month["orders"] if r["kind"] == "purchase"
    )
    counts["reviews_90d"] = Counter(r["item_id"] for r in quarter["reviews"])
    stars: Counter[str] = Counter()
    for r in quarter["reviews"]:
        stars[r["item_id"]] += r["stars"]
    counts["stars_90d"] = stars
    return counts


def recent_items(
    met: list[str], counts: dict[str, Counter[str]], categories: dict[str, Any]
) -> dict[str, Any]:
    items = [i for i in met if i]
    category = categories.get(items[-1]) if items else None
    alike = [i for i, c in categories.items() if c is not None and c == category]
    return {
        "n_recent_items": len(set(items)),
        "last_item_category": category,
        "seq_category": [categories.get(i) or "" for i in met],
        **{f"recent_items_{n}": sum(of[i] for i in set(items)) for n, of in counts.items()},
        **{f"last_category_{n}": sum(of[i] for i in alike) for n, of in counts.items()},
    }


def ratios(row: dict[str, Any]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}

    def divide(name: str, over: str, under: str) -> None:
        a, b = ({**row, **values}[n] for n in (over, under))
        values[name] = None if a is None or not b else float(a) / float(b)

    for name, _, over, under, _, spans in RATIOS:
        for w in spans:
            end = "all" if w is None else f"{w}d"
            divide(f"{name}_{end}", f"{over}_{end}", f"{under}_{end}")
    for name, _, over, under in NAMED_RATIOS:
        divide(name, over, under)
    return values


def standing_orders(rows: list[dict[str, Any]], as_of: date) -> dict[tuple[str, str], datetime]:
    """Orders placed since `as_of` of which something is left, unit by unit, and when placed."""
    skew, midnight = timedelta(minutes=15), datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC)
    before = as_of + timedelta(days=LABEL_REACH)
    so_far = [r for r in rows if r["occurred_at"].date() < before]
    bought = sorted(
        (r for r in so_far if r["kind"] == "purchase"),
        key=lambda r: (r["occurred_at"], r["line_id"]),
    )
    undoing = [r for r in so_far if r["kind"] != "purchase"]
    left = {r["line_id"]: r["quantity"] for r in bought}

    def undo(undone: dict[str, Any], among: list[dict[str, Any]]) -> None:
        units = undone["quantity"]
        for line in reversed(among):
            taken = min(units, left[line["line_id"]])
            left[line["line_id"]] -= taken
            units -= taken

    def alike(a: dict[str, Any], b: dict[str, Any]) -> bool:
        return (a["user_key"], a["item_id"]) == (b["user_key"], b["item_id"])

    for r in undoing:
        if r["undoes_order_id"] is not None and r["occurred_at"] >= midnight - skew:
            of_order = [b for b in bought if b["order_id"] == r["undoes_order_id"]]
            undo(r, [b for b in of_order if alike(b, r) and b["occurred_at"] >= midnight - skew])
    until = {
        r["line_id"]: r["occurred_at"] + (skew if r["kind"] == "cancellation" else timedelta(0))
        for r in undoing
    }
    for r in sorted(undoing, key=lambda r: until[r["line_id"]]):
        if r["undoes_order_id"] is None:
            undo(r, [b for b in bought if alike(b, r) and b["occurred_at"] <= until[r["line_id"]]])
    placed: dict[tuple[str, str], datetime] = {}
    stands = set()
    for r in bought:
        if r["occurred_at"] >= midnight:
            order = (r["user_key"], r["order_id"])
            placed.setdefault(order, r["occurred_at"])
            if left[r["line_id"]]:
                stands.add(order)
    return {order: at for order, at in placed.items() if order in stands}
