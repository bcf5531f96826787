"""What heads of content say of a text, beside the row that holds it."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.content import FIXED_CLASSES, LEARN_EVERY_DAYS, SENTIMENT, TOXICITY


def beside_scores(rows: DataFrame, text: str, scores: DataFrame | None) -> DataFrame:
    """Adds `sentiment`, `toxicity` and `sentiment_milli` to rows of a clean table; null where no
    head has said anything of their text.

    Args:
        rows: of a clean table.
        text: the column with the text.
        scores: `content_scores` of the days on which the rows landed, and of `LEARN_EVERY_DAYS`
            before; None: no head is on. A text has its scores on the first day since its cut.
    """
    if scores is None:
        said = {SENTIMENT: "string", TOXICITY: "string", "sentiment_milli": "bigint"}
        return rows.withColumns({name: F.lit(None).cast(type_) for name, type_ in said.items()})
    of_text = ["content_hash", "_cut"]
    beside = (
        scores.where(F.col("head").isin(SENTIMENT, TOXICITY))
        .withColumn("_cut", _cut(F.col("landed_on")))
        .groupBy(*of_text)
        .agg(
            _first(SENTIMENT, F.col("class")).alias(SENTIMENT),
            _first(TOXICITY, F.col("class")).alias(TOXICITY),
            _first(SENTIMENT, _above()).alias("sentiment_milli"),
        )
    )
    return (
        rows.withColumns(
            {"content_hash": F.sha2(F.col(text), 256), "_cut": _cut(F.col("landed_on"))}
        )
        .join(beside, of_text, "left")
        .drop(*of_text)
    )


def _first(head: str, said: Column) -> Column:
    """What a head says on the first day on which it says anything: after days were scored again by
    another model, a later one may have rows of the model before."""
    return F.min_by(said, F.when(F.col("head") == head, F.col("landed_on")))


def _above() -> Column:
    """By how many thousandths a text is more probably positive than negative: a whole number, so
    that sums do not depend on the order."""
    negative, _, positive = FIXED_CLASSES[SENTIMENT]

    def of(label: str) -> Column:
        return F.element_at("probabilities", F.array_position("classes", label).cast("int"))

    return F.round(1000 * (of(positive) - of(negative))).cast("bigint")


def _cut(landed_on: Column) -> Column:
    """`contracts.content.cut_of` of a day."""
    days = F.pmod(F.unix_date(landed_on), F.lit(LEARN_EVERY_DAYS))
    return F.date_sub(landed_on, days)
