"""Classes and functions of the JVM, looked up once.

For each column expression PySpark asks the JVM what `functions`, and then what the function's name
stands for. The JVM answers by trying package after package, which costs more than the call itself:
on a small night, whose thousands of expressions are made of a few dozen functions, a tenth of all
that the JVM computes.
"""

from __future__ import annotations

from typing import Any

from py4j.java_gateway import JavaClass, JavaMember
from pyspark.sql import SparkSession

CLASSES = ("org.apache.spark.sql.functions", "functions", "PythonUtils", "PythonSQLUtils")
"""What PySpark asks for, as it asks for it."""


class _ClassOfStatics(JavaClass):
    """A class of the JVM, of which each static method is looked up once."""

    def __getattr__(self, name: str) -> Any:
        member = super().__getattr__(name)
        if isinstance(member, JavaMember):  # a field may change
            setattr(self, name, member)
        return member


def remember_names(session: SparkSession) -> None:
    """Make PySpark find what it asks for again and again without asking the session's JVM."""
    jvm = session.sparkContext._jvm
    for name in CLASSES:
        if name not in vars(jvm):
            asked = getattr(jvm, name)
            setattr(jvm, name, _ClassOfStatics(asked._fqn, asked._gateway_client))
