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
            *(F.max(F.when(F.col("head") == h, F.col("class"))).alias(h)
              for h in (SENTIMENT, TOXICITY)),
            F.max(F.when(F.col("head") == SENTIMENT, _above())).alias("sentiment_milli"),
        )
    )  # fmt: skip
    return (
        rows.withColumns(
            {"content_hash": F.sha2(F.col(text), 256), "_cut": _cut(F.col("landed_on"))}
        )
        .join(beside, of_text, "left")
        .drop(*of_text)
    )


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
