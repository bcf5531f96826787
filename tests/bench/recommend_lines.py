"""What `make bench-recommend` prints of a data set, a surface and its cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from tests.bench.lines import as_table
from tests.bench.recommend_protocol import Figures, paired, pooled

ORACLE = "oracle"
"""Who knows what each user of a simulated market would choose."""
RANKED = ("published", "lambdarank", "network")
_RETAIL = ("online_retail", "products")
PEERS: Mapping[tuple[Any, ...], Mapping[str, float]] = {
    (*_RETAIL, "2011-09-01", False): {
        "popular_twin": 0.047, "knn_twin": 0.088, "ease_twin": 0.107, "ials_twin": 0.106,
        "lambdarank": 0.121, "published": 0.121,
    },
    (*_RETAIL, "2011-11-01", False): {
        "popular_twin": 0.076, "knn_twin": 0.087, "ease_twin": 0.108, "ials_twin": 0.117,
        "lambdarank": 0.166, "published": 0.166,
    },
    (*_RETAIL, "2011-09-01", True): {
        "own_twin": 0.356, "ials_twin": 0.282, "lambdarank": 0.375, "published": 0.375,
    },
    (*_RETAIL, "2011-11-01", True): {
        "own_twin": 0.339, "ials_twin": 0.293, "published": 0.355,
    },
    ("ciao", "products", "2008-01-01 … 2010-07-01 (10)", False): {
        "lambdarank": 0.020, "published": 0.020,
    },
    ("ciao", "people", "2011-04-30", False): {
        "friends_of_friends_twin": 0.089, "page_rank_twin": 0.083, "ials_twin": 0.082,
        "published": 0.089,
    },
}  # fmt: skip
"""nDCG@10 of others on the same protocol, by data, surface, cut and repeats; beside `published`
what it is to reach."""


def lines_of(
    about: Mapping[str, Any], cuts: Sequence[tuple[date, Mapping[str, list[Figures]]]], seeds: int
) -> list[dict[str, Any]]:
    """A line per method, over the users of all cuts, the best first; those of the ranked lists, and
    of what stands beside them, have their gain over the best single source with its interval."""
    figures = {
        method: [one for _, measured in cuts for one in measured[method]]
        for method in cuts[0][1]
        if all(method in measured for _, measured in cuts)
    }
    means = {method: pooled(of_cuts) for method, of_cuts in figures.items()}
    sources = [method for method in figures if is_source(method)]
    best = max(sources, key=lambda method: means[method]["ndcg10"]) if sources else None
    days = [day for day, _ in cuts]
    cut = str(days[0]) if len(days) == 1 else f"{days[0]} … {days[-1]} ({len(days)})"
    lines = []
    for method in sorted(
        figures, key=lambda method: (method not in RANKED, -means[method]["ndcg10"])
    ):
        line = {**about, "cut": cut, "method": method, **means[method]}
        line["users"] = sum(len(one.users) for one in figures[method])
        line["seeds"] = seeds if method in RANKED else 1
        if ORACLE in means:
            line["share_of_oracle"] = means[method]["ndcg10"] / means[ORACLE]["ndcg10"]
        if best is not None and method != best:
            line["best_source"] = best
            line["over_best_source"] = paired(figures[method], figures[best])
        lines.append(line)
    return lines


def is_source(method: str) -> bool:
    """Whether a method is a source of candidates by itself."""
    return method not in (*RANKED, "fusion", ORACLE) and not method.endswith("_twin")


def readable(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lines as a table in Markdown, with what peers reach on the same protocol."""
    head = ("data", "surface", "cut", "repeats", "method", "nDCG@10", "95 %", "over the best source",
            "recall@20", "hit@10", "coverage@10", "Gini", "peers", "of the oracle")  # fmt: skip
    rows = [
        [line["data"], line["surface"], line["cut"], "yes" if line["repeats"] else "no",
         line["method"], f"{line['ndcg10']:.4f}", f"{line['low']:.4f} to {line['high']:.4f}",
         _gain(line), f"{line['recall20']:.4f}", f"{line['hit10']:.3f}",
         f"{line['coverage10']:.3f}", f"{line['gini']:.3f}", _peer(line),
         f"{line['share_of_oracle']:.2f}" if "share_of_oracle" in line else ""]
        for line in lines
    ]  # fmt: skip
    return as_table(head, rows)


def _gain(line: Mapping[str, Any]) -> str:
    if "over_best_source" not in line:
        return ""
    gain, low, high = line["over_best_source"]
    return f"{gain:+.4f} ({low:+.4f} to {high:+.4f}), {line['best_source']}"


def _peer(line: Mapping[str, Any]) -> str:
    of = PEERS.get((line["data"], line["surface"], line["cut"], line["repeats"]), {})
    return f"{of[line['method']]:.3f}" if line["method"] in of else ""
