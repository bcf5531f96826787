"""The features of one night, by hand in DuckDB: a peer for Spark, and a second definition.

Straight from clean Parquet files; nothing is taken from the pipeline but the list of features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import duckdb

from contracts.content_tables import CONTENT_SCORES
from contracts.features import FEATURES, GRAPH, RATED_WORDS, RECENT_ITEMS
from contracts.measures import EVENT_VERBS, FIRST_SEEN, MEASURES, MOMENTS, WINDOWS, Moment
from contracts.source_table import AD_VIEW

EVERY_VERB = (*EVENT_VERBS, AD_VIEW)

_NO_SCORES = """CREATE TABLE content_scores (content_hash VARCHAR, landed_on DATE, head VARCHAR,
    class VARCHAR, probabilities FLOAT[])"""

_SCORED_POSTS = """CREATE TABLE scored_posts AS
WITH cuts AS (FROM posts SELECT *, sha256(text) hash, (landed_on - '1970-01-01'::DATE) // 28 cut),
said AS (SELECT content_hash AS hash, (landed_on - DATE '1970-01-01') // 28 AS cut,
        max(class) FILTER (head = 'sentiment') sentiment,
        max(class) FILTER (head = 'toxicity') toxicity,
        max(round(1000 * (probabilities[3] - probabilities[1]))) FILTER (head = 'sentiment') milli
    FROM content_scores GROUP BY ALL)
SELECT c.*, sentiment, toxicity, milli FROM cuts c LEFT JOIN said USING (hash, cut)"""

_TILES = """
CREATE TABLE tiles AS SELECT user_key, day, landed_on, {sums} FROM (
    SELECT user_key, occurred_at::DATE AS day, landed_on, count(*) AS n_events,
        count(*) FILTER (kind = 'purchase') AS n_order_lines,
        sum(quantity) FILTER (kind = 'purchase') AS n_units,
        sum(amount_minor) FILTER (kind = 'purchase') AS spend_minor,
        count(*) FILTER (kind <> 'purchase') AS n_undone_lines,
        sum(amount_minor) FILTER (kind <> 'purchase') AS undone_minor
    FROM orders GROUP BY ALL
    UNION ALL BY NAME
    SELECT user_key, occurred_at::DATE AS day, landed_on, count(*) AS n_events, count(*) AS n_posts,
        count(*) FILTER (text IS NULL) AS n_posts_without_text,
        sum((length(text) - length(replace(text, '<url>', ''))) / 5) AS n_links_posted,
        count(milli) AS n_posts_of_known_sentiment, sum(milli) AS post_sentiment_milli,
        count(toxicity) AS n_posts_of_known_toxicity,
        count(*) FILTER (sentiment = 'negative') AS n_negative_posts,
        count(*) FILTER (toxicity = 'toxic') AS n_toxic_posts FROM scored_posts GROUP BY ALL
    UNION ALL BY NAME
    SELECT user_key, occurred_at::DATE AS day, landed_on, count(*) AS n_events,
        count(*) FILTER (verb = 'view' AND target_kind IS DISTINCT FROM 'ad') AS n_views,
        count(*) FILTER (verb = 'like') AS n_likes,
        count(*) FILTER (verb = 'comment') AS n_comments,
        count(*) FILTER (verb = 'share') AS n_shares,
        count(*) FILTER (verb = 'search') AS n_searches,
        count(*) FILTER (verb = 'click' AND target_kind IS DISTINCT FROM 'ad') AS n_clicks,
        count(*) FILTER (verb = 'view' AND target_kind = 'ad') AS n_ad_views,
        count(*) FILTER (verb = 'click' AND target_kind = 'ad') AS n_ad_clicks
    FROM engagements WHERE user_key IS NOT NULL GROUP BY ALL
    UNION ALL BY NAME
    SELECT whom AS user_key, occurred_at::DATE AS day, landed_on,
        count(*) FILTER (verb = 'like') AS n_likes_received,
        count(*) FILTER (verb IN ('comment', 'share')) AS n_replies_received
    FROM received GROUP BY ALL
    UNION ALL BY NAME
    SELECT user_key, occurred_at::DATE AS day, landed_on, count(*) AS n_events,
        count(*) FILTER (kind = 'follow') AS n_follows,
        count(*) FILTER (kind = 'unfollow') AS n_unfollows
    FROM follows WHERE occurred_at IS NOT NULL GROUP BY ALL
    UNION ALL BY NAME
    SELECT user_key, occurred_at::DATE AS day, landed_on, count(*) AS n_events,
        count(*) AS n_reviews, sum(stars) AS sum_stars,
        sum(1000 * stars - item_mean_milli) AS stars_above_items,
        count(*) FILTER (sentiment = 'negative') AS n_negative_reviews,
        count(*) FILTER (sentiment = 'positive') AS n_positive_reviews
    FROM compared_reviews GROUP BY ALL
    UNION ALL BY NAME
    SELECT user_key, occurred_at::DATE AS day, landed_on, count(*) AS n_events,
        count(*) FILTER (kind = 'login') AS n_logins,
        count(*) FILTER (kind = 'login' AND NOT succeeded) AS n_failed_logins,
        (count(*) FILTER (kind = 'login' AND NOT succeeded) >= 3)::BIGINT AS n_login_bursts,
        count(*) FILTER (kind = 'payment') AS n_payments,
        sum(amount_minor) FILTER (kind = 'payment') AS paid_minor,
        max(amount_minor) FILTER (kind = 'payment') AS max_payment_minor,
        count(*) FILTER (kind = 'transfer') AS n_transfers,
        sum(amount_minor) FILTER (kind = 'transfer') AS transferred_minor,
        max(amount_minor) FILTER (kind = 'transfer') AS max_transfer_minor
    FROM account_events GROUP BY ALL)
GROUP BY ALL"""

_COMPARED_REVIEWS = """
CREATE TABLE compared_reviews AS
SELECT r.*, 1000 * (coalesce(sum(b.stars), 0) + 8) // (count(b.stars) + 2) AS item_mean_milli
FROM reviews r LEFT JOIN every_review b ON b.item_id = r.item_id
    AND b.landed_on BETWEEN r.landed_on - 90 AND r.landed_on - 1
GROUP BY ALL"""

_RECEIVED = """
CREATE VIEW received AS
SELECT target_id AS whom, verb, occurred_at, landed_on FROM engagements
WHERE target_kind = 'user' AND user_key IS DISTINCT FROM target_id
UNION ALL
SELECT whom, verb, occurred_at, landed_on FROM authored WHERE user_key IS DISTINCT FROM whom"""

_AUTHORED = """
CREATE TABLE authored AS
SELECT e.engagement_id, e.user_key, e.verb, e.occurred_at, e.landed_on,
    arg_min(p.user_key, (p.landed_on, p.user_key)) AS whom
FROM engagements e JOIN every_post p ON e.target_kind = 'post' AND e.target_id = p.post_id
    AND p.landed_on BETWEEN e.landed_on - 90 AND e.landed_on
GROUP BY ALL"""

_EVENTS = """
CREATE VIEW events AS
SELECT user_key, occurred_at, line_id AS id,
    CASE WHEN kind = 'purchase' THEN 'order' ELSE 'undo' END AS verb, item_id AS item,
    amount_minor AS amount FROM orders
UNION ALL SELECT user_key, occurred_at, post_id, 'post', '', 0 FROM posts
UNION ALL SELECT user_key, occurred_at, engagement_id,
    CASE WHEN target_kind = 'ad' AND verb = 'view' THEN 'ad_view'
         WHEN target_kind = 'ad' AND verb = 'click' THEN 'ad_click' ELSE verb END,
    CASE WHEN target_kind = 'item' THEN target_id ELSE '' END, 0
    FROM engagements WHERE user_key IS NOT NULL
UNION ALL SELECT user_key, occurred_at, follow_id, kind, '', 0 FROM follows
    WHERE occurred_at IS NOT NULL
UNION ALL SELECT user_key, occurred_at, review_id, 'review', item_id, 0 FROM reviews
UNION ALL SELECT user_key, occurred_at, event_id,
    CASE WHEN kind = 'login' AND NOT succeeded THEN 'failed_login' ELSE kind END, '',
    coalesce(amount_minor, 0) FROM account_events"""

_LAST = """
CREATE TABLE last_events AS SELECT * FROM events WHERE verb <> 'ad_view'
QUALIFY row_number() OVER (PARTITION BY user_key ORDER BY occurred_at DESC, id DESC) <= 50"""

_SEQUENCES = """
CREATE TABLE sequences AS SELECT user_key, list(verb ORDER BY occurred_at, id) AS seq_verb,
    list(item ORDER BY occurred_at, id) AS seq_item,
    list(floor((epoch_us(TIMESTAMPTZ '{day} 00:00:00+00') - epoch_us(occurred_at))
        / 3600000000::DOUBLE)::INT ORDER BY occurred_at, id) AS seq_hours,
    list(amount ORDER BY occurred_at, id) AS seq_amount_minor,
    arg_max(item, (occurred_at, id)) FILTER (item <> '') AS last_item,
    list(coalesce(category, '') ORDER BY occurred_at, id) AS seq_category
FROM last_events LEFT JOIN item_stats USING (item) GROUP BY user_key"""

_THINGS = """
CREATE TABLE things AS
SELECT user_key, kind, thing, max(day) AS day FROM (
    SELECT user_key, 'item' AS kind, item_id AS thing, occurred_at::DATE AS day FROM orders
        WHERE kind = 'purchase'
    UNION ALL SELECT user_key, 'item', item_id, occurred_at::DATE FROM reviews
    UNION ALL SELECT user_key, CASE target_kind WHEN 'item' THEN 'item' ELSE 'counterpart' END,
        target_id, occurred_at::DATE FROM engagements WHERE target_kind IN ('item', 'user')
    UNION ALL SELECT user_key, 'counterpart', whom, occurred_at::DATE FROM authored
    UNION ALL SELECT user_key, 'counterpart', followed_key, occurred_at::DATE FROM follows
        WHERE kind = 'follow' AND occurred_at IS NOT NULL
    UNION ALL SELECT user_key, 'counterpart', counterpart_key, occurred_at::DATE
        FROM account_events
    UNION ALL SELECT user_key, 'device', device_key, occurred_at::DATE FROM account_events
    UNION ALL SELECT user_key, 'day', day::VARCHAR, day FROM tiles WHERE n_events > 0)
WHERE user_key IS NOT NULL AND thing IS NOT NULL AND thing <> user_key
    AND day >= DATE '{day}' - 90
GROUP BY ALL"""

_ITEMS = """
CREATE TABLE item_stats AS
SELECT item, newest.category_id AS category, coalesce(engagements, 0) AS engagements_30d,
    coalesce(order_lines, 0) AS order_lines_30d, coalesce(reviews, 0) AS reviews_90d,
    coalesce(stars, 0) AS stars_90d
FROM (SELECT item_id AS item, arg_max({{'c': category_id}}, (occurred_at, landed_on)).c AS category_id
      FROM items
      GROUP BY ALL) newest
FULL JOIN (
    SELECT item, sum(e) FILTER (day >= DATE '{day}' - 30)::BIGINT AS engagements,
        sum(o) FILTER (day >= DATE '{day}' - 30)::BIGINT AS order_lines,
        sum(r)::BIGINT AS reviews, sum(s)::BIGINT AS stars
    FROM (
        SELECT target_id AS item, occurred_at::DATE AS day, 1 AS e, 0 AS o, 0 AS r, 0 AS s
            FROM engagements WHERE target_kind = 'item' AND user_key IS NOT NULL
        UNION ALL SELECT item_id, occurred_at::DATE, 0, 1, 0, 0 FROM orders WHERE kind = 'purchase'
        UNION ALL SELECT item_id, occurred_at::DATE, 0, 0, 1, stars FROM reviews)
    WHERE day >= DATE '{day}' - 90 GROUP BY item) USING (item)"""

_RECENT = """
CREATE TABLE recent AS
WITH met AS (SELECT DISTINCT user_key, item FROM last_events WHERE item <> ''),
sums AS (SELECT user_key, count(*) AS n_recent_items, {sums} FROM met LEFT JOIN item_stats
    USING (item) GROUP BY user_key),
of_category AS (SELECT category, {of_category} FROM item_stats WHERE category IS NOT NULL
    GROUP BY category)
SELECT sums.*, i.category AS last_item_category, of_category.* EXCLUDE (category)
FROM sums JOIN sequences USING (user_key) LEFT JOIN item_stats i ON i.item = last_item
    LEFT JOIN of_category ON of_category.category = i.category"""

_EDGES = """
CREATE TABLE edges AS SELECT user_key, followed_key FROM every_follow
WHERE valid_from::DATE < DATE '{day}' AND landed_on < DATE '{day}' AND valid_from IS NOT NULL
GROUP BY ALL HAVING arg_max(kind, (valid_from, follow_id)) = 'follow'"""

_GRAPH = """
CREATE TABLE graph AS
WITH outgoing AS (
    SELECT e.user_key, count(*) AS n_following, count(back.user_key) AS n_mutual,
        count(*) FILTER (w.n_events_7d > 0) AS followed_active_7d,
        sum(o.n_orders_30d)::BIGINT AS followed_orders_30d,
        sum(o.n_orders_90d)::BIGINT AS followed_orders_90d,
        sum(w.spend_minor_90d)::BIGINT AS followed_spend_minor_90d,
        sum(w.n_reviews_90d)::BIGINT AS followed_reviews_90d,
        sum(w.sum_stars_90d)::BIGINT AS followed_stars_90d
    FROM edges e LEFT JOIN windows w ON w.user_key = e.followed_key
    LEFT JOIN order_counts o ON o.user_key = e.followed_key
    LEFT JOIN edges back ON back.user_key = e.followed_key AND back.followed_key = e.user_key
    GROUP BY e.user_key),
incoming AS (SELECT followed_key AS user_key, count(*) AS n_followers FROM edges GROUP BY ALL)
SELECT * FROM outgoing FULL JOIN incoming USING (user_key)"""

_TEXT = """
CREATE TABLE texts AS
WITH newest AS (
    SELECT user_key, occurred_at, post_id, text FROM posts
    WHERE text IS NOT NULL AND occurred_at::DATE >= DATE '{day}' - 90
    QUALIFY row_number() OVER (PARTITION BY user_key ORDER BY occurred_at DESC, post_id DESC) <= 16),
words AS (
    SELECT user_key, occurred_at, post_id, unnest(split(text, ' ')) AS word,
        generate_subscripts(split(text, ' '), 1) AS place FROM newest),
last_words AS (
    SELECT * FROM words JOIN vocabulary USING (word)
    QUALIFY row_number() OVER (
        PARTITION BY user_key ORDER BY occurred_at DESC, post_id DESC, place DESC) <= 64)
SELECT user_key, list(token ORDER BY occurred_at, post_id, place) AS text_tokens,
    count(above) AS n_rated_words, sum(above)::BIGINT AS rated_words_above
FROM last_words LEFT JOIN word_stars USING (token) GROUP BY user_key"""

_WORD_STARS = """
CREATE TABLE word_stars AS
WITH rated AS (SELECT unnest(list_distinct(split(text, ' '))) AS word, stars FROM reviews
    WHERE text IS NOT NULL AND occurred_at::DATE >= DATE '{day}' - 90),
stars AS (SELECT token, count(*) AS n, sum(stars) AS s FROM rated JOIN vocabulary USING (word)
    GROUP BY token),
total AS (SELECT sum(n) AS n, sum(s) AS s FROM stars)
SELECT token, 1000 * stars.s // stars.n - 1000 * total.s // total.n AS above FROM stars, total
WHERE stars.n >= 5"""

_MOMENTS = """
CREATE TABLE moments AS
SELECT user_key, {moments} FROM (
    SELECT user_key, verb, occurred_at::DATE AS day, NULL::DATE AS known FROM events
    UNION ALL BY NAME
    SELECT user_key, least(coalesce(signed_up_at, occurred_at), occurred_at)::DATE AS known
    FROM users
    UNION ALL BY NAME
    SELECT user_key, day AS known FROM tiles WHERE n_events = 0)
GROUP BY user_key"""


def _moment(moment: Moment) -> str:
    if moment is FIRST_SEEN:
        return "least(min(day), min(known)) AS first_seen_at"
    verbs = ", ".join(f"'{verb}'" for verb in moment.verbs or EVERY_VERB)
    aggregate = "min" if moment.first else "max"
    return f"{aggregate}(day) FILTER (verb IN ({verbs})) AS {moment.name}"


def features_by_hand(
    clean: Mapping[str, Sequence[str]], vocabulary: Sequence[str], day: date, out: Path,
    threads: int = 2,
) -> None:  # fmt: skip
    """Write `user_features` as of `day` to `out`; `vocabulary` has words and their tokens."""
    with duckdb.connect() as c:
        c.execute(
            f"SET TimeZone = 'UTC'; SET threads = {threads}; SET preserve_insertion_order = false"
        )

        def do(sql: str) -> None:
            c.execute(sql).fetchall()

        for name, paths in clean.items():
            c.read_parquet(list(paths), hive_partitioning=False).create_view(
                f"every_{name.removesuffix('s')}"
            )
            happened = (
                "" if name == CONTENT_SCORES.name else f"AND occurred_at::DATE < DATE '{day}'"
            )
            do(
                f"CREATE VIEW {name} AS SELECT * FROM every_{name.removesuffix('s')} "
                f"WHERE landed_on < DATE '{day}' {happened}"
            )
        if CONTENT_SCORES.name not in clean:
            do(_NO_SCORES)
        c.read_parquet(list(vocabulary), hive_partitioning=False).create_view("vocabulary")
        combine = {m.name: ("sum" if m.combine == "sum" else "max") for m in MEASURES}
        sums = ", ".join(f"coalesce({f}({n}), 0)::BIGINT AS {n}" for n, f in combine.items())
        for statement in (
            _AUTHORED,
            _RECEIVED,
            _COMPARED_REVIEWS,
            _SCORED_POSTS,
            _TILES.format(sums=sums),
            _EVENTS,
        ):
            do(statement)
        windows = ", ".join(
            f"coalesce({f}({n}) FILTER (day >= DATE '{day}' - {w}), 0)::BIGINT AS {n}_{w}d"
            for n, f in combine.items()
            for w in WINDOWS
        )
        lifetime = ", ".join(f"{f}({n})::BIGINT AS {n}_all" for n, f in combine.items())
        do(
            f"CREATE TABLE windows AS SELECT user_key, {windows}, {lifetime} FROM tiles GROUP BY ALL"
        )
        of_orders = ", ".join(
            f"count(DISTINCT order_id) FILTER (occurred_at::DATE >= DATE '{day}' - {w}) "
            f"AS n_orders_{w}d"
            for w in WINDOWS
        )
        do(
            f"CREATE TABLE order_counts AS SELECT user_key, {of_orders}, "
            "count(DISTINCT order_id) AS n_orders_all FROM orders WHERE kind = 'purchase' "
            "GROUP BY user_key"
        )
        stats = ("engagements_30d", "order_lines_30d", "reviews_90d", "stars_90d")
        recent = _RECENT.format(
            sums=", ".join(f"sum({s})::BIGINT AS recent_items_{s}" for s in stats),
            of_category=", ".join(f"sum({s})::BIGINT AS last_category_{s}" for s in stats),
        )
        do(_MOMENTS.format(moments=", ".join(_moment(m) for m in MOMENTS)))
        for statement in (_LAST, _THINGS, _ITEMS, _SEQUENCES, recent, _EDGES, _GRAPH, _WORD_STARS,
                          _TEXT):  # fmt: skip
            do(statement.format(day=day) if statement is not recent else statement)
        distincts = ", ".join(
            f"count(DISTINCT {what}) FILTER (kind = '{kind}' AND t.day >= DATE '{day}' - {w}) "
            f"AS {count}_{w}d"
            for kind, count, what in (
                ("item", "n_distinct_items", "thing"),
                ("item", "n_distinct_categories", "i.category"),
                ("counterpart", "n_distinct_counterparts", "thing"),
                ("device", "n_distinct_devices", "thing"), ("day", "n_active_days", "thing"))
            for w in WINDOWS
        )  # fmt: skip
        do(
            f"CREATE TABLE distincts AS SELECT user_key, {distincts} FROM things t "
            "LEFT JOIN item_stats i ON i.item = t.thing AND t.kind = 'item' GROUP BY user_key"
        )
        do(
            "CREATE TABLE countries AS SELECT user_key, "
            "arg_max({'c': country}, (occurred_at, landed_on)).c AS country, "
            "arg_max({'a': attributes}, (occurred_at, landed_on)).a AS attributes FROM users "
            "GROUP BY user_key"
        )
        joined = (
            "moments LEFT JOIN windows USING (user_key) LEFT JOIN distincts USING (user_key) "
            "LEFT JOIN order_counts USING (user_key) "
            "LEFT JOIN graph USING (user_key) LEFT JOIN recent USING (user_key) "
            "LEFT JOIN sequences USING (user_key) LEFT JOIN texts USING (user_key) "
            "LEFT JOIN countries USING (user_key)"
        )
        columns = []
        late: list[tuple[str, str, str]] = []
        zero = {name for name, _, _ in (*GRAPH, *RECENT_ITEMS, *RATED_WORDS)}
        for f in FEATURES:
            if f.aggregate == "ratio":
                late.append((f.name, *f.source))
            elif f.aggregate == "since":
                columns.append(f"(DATE '{day}' - {f.source[0]})::INT AS {f.name}")
            elif f.aggregate in ("measure", "distinct") or f.name in zero:
                columns.append(f"coalesce({f.name}, 0)::BIGINT AS {f.name}")
            elif f.aggregate in ("sequence", "text"):
                columns.append(f"coalesce({f.name}, []) AS {f.name}")
            else:
                columns.append(f.name)
        query = f"SELECT user_key, {', '.join(columns)} FROM {joined}"
        while late:  # a ratio may divide another
            waiting = {name for name, _, _ in late}
            ready = [r for r in late if not waiting & {r[1], r[2]}]
            listed = ", ".join(f"{a}::DOUBLE / nullif({b}::DOUBLE, 0) AS {n}" for n, a, b in ready)
            query = f"SELECT *, {listed} FROM ({query})"
            late = [r for r in late if r not in ready]
        names = ", ".join(f.name for f in FEATURES)
        do(
            f"COPY (SELECT user_key, DATE '{day}' AS as_of, {names} FROM ({query}) "
            f"ORDER BY user_key) TO '{out}' (FORMAT parquet, COMPRESSION zstd)"
        )


def differences(ours: Sequence[str], theirs: Sequence[str]) -> tuple[int, int, dict[str, int]]:
    """Rows compared, users in only one of them, and the features that differ, with how often."""
    with duckdb.connect() as c:
        c.read_parquet(list(ours), hive_partitioning=False).create_view("a")
        c.read_parquet(list(theirs), hive_partitioning=False).create_view("b")
        only = c.execute(
            "SELECT count(*) FROM a FULL JOIN b USING (user_key, as_of) "
            "WHERE a.user_key IS NULL OR b.user_key IS NULL"
        ).fetchall()[0][0]
        counts = c.execute(
            "SELECT count(*), "
            + ", ".join(f"count_if(a.{f.name} IS DISTINCT FROM b.{f.name})" for f in FEATURES)
            + " FROM a JOIN b USING (user_key, as_of)"
        ).fetchall()[0]
    by_column = {f.name: int(n) for f, n in zip(FEATURES, counts[1:], strict=True) if n}
    return int(counts[0]), int(only), by_column
