"""What users did with posts, items, users and ads, and what they searched for."""

from __future__ import annotations

from contracts.cleaning import (
    Attributes,
    Cleaning,
    KeyedId,
    KeyedUser,
    OneOf,
    Required,
    Sql,
    Text,
    Time,
    Words,
)
from contracts.source_table import (
    AD_VIEW,
    LANDED_ON,
    OCCURRED_AT,
    Event,
    Field,
    Interaction,
    ItemMeasure,
    Measure,
    SourceTable,
    Thing,
)
from contracts.table import Column

_HAS_TARGET = "not coalesce(text_verb = 'search', false)"
_AD = "coalesce(target_kind = 'ad', false)"

ENGAGEMENTS = SourceTable(
    name="engagements",
    doc="What users did with posts, items, users and ads, and what they searched for.",
    grain=("engagement_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("engagement_id", "string", "The event: a keyed hash."),
        Column(
            "user_key",
            "string",
            "The user who did it: 32 hex digits of a keyed hash. Null where a source only says to "
            "whom it was done.",
            nullable=True,
        ),
        Column(
            "verb",
            "string",
            "What was done.",
            values=("view", "like", "comment", "share", "search", "click"),
        ),
        Column(
            "target_kind",
            "string",
            "What it was done with; null for a search for nothing in particular.",
            nullable=True,
            values=("post", "item", "user", "ad"),
        ),
        Column(
            "target_id",
            "string",
            "The item or ad; the keyed hash of a post or user.",
            nullable=True,
        ),
        Column(
            "text",
            "string",
            "Words of a comment or search, normalised.",
            nullable=True,
        ),
        Column(
            "labels",
            "array<string>",
            "What the mapping says is known of its text, as sorted texts `head=class`; null if "
            "nothing is.",
            nullable=True,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("engagement_id", "the event"),
        Field(
            "user_id",
            "the user who did it; may be null only for what was done to a user, `target_kind` "
            "`'user'`",
            required=False,
        ),
        Field("verb", "`'view'`, `'like'`, `'comment'`, `'share'`, `'search'` or `'click'`"),
        Field(
            "target_kind",
            "`'post'`, `'item'`, `'user'` or `'ad'`; may be null for a search",
            required=False,
        ),
        Field("target_id", "the post, item, user or ad; may be null for a search", required=False),
        Field("text", "words of a comment or search", required=False),
        Field("occurred_at", "when it happened"),
    ),
    # Who did it may be unknown where it was done to a user, and a search may have no target. What
    # is of no kind may be a user: the row is quarantined, and found when the user is to be erased.
    cleaning=Cleaning(
        id="engagement_id",
        columns=(
            KeyedId("engagement_id", "engagement"),
            KeyedUser("user_key", "user_id"),
            Text("verb"),
            Text("target_kind"),
            KeyedId("_post_target", "post", field="target_id"),
            KeyedUser("_user_target", "target_id"),
            Sql(
                "target_id",
                "case when text_target_kind in ('item', 'ad') then text_target_id "
                "when coalesce(text_target_kind = 'post', text_verb = 'search', false) "
                "then _post_target else _user_target end",
            ),
            Words("text"),
            Attributes("labels"),
            Time(),
        ),
        checks=(
            Required("user_id", where="not coalesce(text_target_kind = 'user', false)"),
            Required("engagement_id"),
            Required("verb"),
            OneOf("verb"),
            Required("target_kind", where=_HAS_TARGET),
            OneOf("target_kind"),
            Required("target_id", where=_HAS_TARGET),
            Attributes("labels"),
            Time(),
        ),
        max_rows_of_user=1000,
    ),
    event=Event(
        "engagement_id",
        f"case when target_kind = 'ad' and verb = 'view' then '{AD_VIEW}' "
        "when target_kind = 'ad' and verb = 'click' then 'ad_click' else verb end",
        ("view", "like", "comment", "share", "search", "click", "ad_click"),
        item="if(target_kind = 'item', target_id, '')",
    ),
    measures=(
        Measure(
            "n_views", "Views of posts, items and users", f"count_if(verb = 'view' and not {_AD})"
        ),
        Measure("n_likes", "Likes given", "count_if(verb = 'like')"),
        Measure("n_comments", "Comments written", "count_if(verb = 'comment')"),
        Measure("n_shares", "Things shared", "count_if(verb = 'share')"),
        Measure("n_searches", "Searches", "count_if(verb = 'search')"),
        Measure(
            "n_clicks",
            "Clicks on posts, items and users",
            f"count_if(verb = 'click' and not {_AD})",
        ),
        Measure("n_ad_views", "Ads seen", f"count_if(verb = 'view' and {_AD})"),
        Measure("n_ad_clicks", "Ads clicked", f"count_if(verb = 'click' and {_AD})"),
    ),
    received=(
        Measure(
            "n_likes_received",
            "Likes that the user and the user's posts got",
            "count_if(verb = 'like')",
        ),
        Measure(
            "n_replies_received",
            "Comments and shares that the user and the user's posts got",
            "count_if(verb in ('comment', 'share'))",
        ),
    ),
    things=(
        Thing("item", "target_id", "target_kind = 'item'"),
        Thing("counterpart", "target_id", "target_kind = 'user'"),
    ),
    interactions=(
        Interaction(
            "verb",
            "target_kind",
            "target_id",
            f"verb <> 'search' and target_kind is not null and not (verb = 'view' and {_AD})",
        ),
        # Who logs what is shown may log ads there, too.
        Interaction(f"'{AD_VIEW}'", "target_kind", "target_id", f"verb = 'view' and {_AD}"),
    ),
    item_measures=(ItemMeasure("n_engagements", "Engagements with it", "1"),),
)
