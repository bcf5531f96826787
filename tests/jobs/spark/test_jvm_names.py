"""PySpark asks the JVM once what a name stands for."""

from __future__ import annotations

from collections.abc import Callable

from py4j.clientserver import JavaClient
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F


def commands_for(make: Callable[[], Column], monkeypatch) -> list[str]:
    """What is sent to the JVM while an expression is made: the first line of each command."""
    sent: list[str] = []
    send = JavaClient.send_command

    def recorded(self: JavaClient, command: str, *more: object, **named: object) -> object:
        sent.append(command.splitlines()[0])
        return send(self, command, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(JavaClient, "send_command", recorded)
        patch.setattr(JavaClient, "garbage_collect_object", lambda *_, **__: None)
        make()
    return sent


CALL, REFLECTION = "c", "r"


def test_an_expression_that_was_made_before_looks_nothing_up(
    spark: SparkSession, monkeypatch
) -> None:
    def expression() -> Column:
        return F.coalesce(F.col("a"), F.lit(0))

    expression()
    sent = commands_for(expression, monkeypatch)
    assert sent.count(CALL) >= 4  # col, lit, a list of both, coalesce
    assert REFLECTION not in sent
