"""`make bench-recommend`: what every surface recommends, beside its sources and simple twins.

Lists of real and simulated data as of past cuts, made by the pipeline itself, against what then
happened (tests/bench/recommend_protocol.py). A JSON line per data set, surface, cut and method, and
a table at the end. `published` is what the released table holds; with `--rankers` it is ranked by
LambdaRank alone and by the network alone as well; each source stands by itself, `fusion` is their
reciprocal-rank fusion, and those that end in `_twin` are a few lines of NumPy. Homes are made below
`--folder` and reused; a set whose data are not there is left out.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from contracts.days import parse_day
from contracts.errors import NightjarError
from models.ranking.metrics import Array
from tests.bench.lines import print_figures
from tests.bench.recommend_lines import ORACLE, lines_of, readable
from tests.bench.recommend_lists import candidates_of, lists_of
from tests.bench.recommend_oracle import oracle_lists
from tests.bench.recommend_people import people_question, people_twins
from tests.bench.recommend_protocol import Figures, Question, averaged, figures, world_of
from tests.bench.recommend_sets import (
    SETS,
    BenchHome,
    RecommendSet,
    check_cuts,
    home_of,
    sets_of,
)
from tests.bench.recommend_twins import fused, twins

FOLDER = Path(os.environ.get("NIGHTJAR_HOME", ".nightjar")) / "recommend"
ALONE = ("lambdarank", "network")

Measured = dict[str, list[Figures]]
"""By method the figures of each cut."""


def measure(of: RecommendSet, home: BenchHome, o: argparse.Namespace) -> list[dict[str, Any]]:
    """The lines of a set."""
    cuts = tuple(o.cuts) or of.cuts
    home.land(of.landed_before(cuts), None)
    lines = []
    for repeats in chosen_repeats(of, o.repeats):
        by_surface: dict[str, list[tuple[date, Measured]]] = {name: [] for name in of.surfaces}
        for cut in cuts:
            for surface, measured in measure_cut(home, cut, repeats, o).items():
                by_surface[surface].append((cut, measured))
        for surface, by_cut in by_surface.items():
            allowed = of.surface(surface, repeats).repeats
            about = {"data": of.data, "surface": surface, "repeats": allowed}
            groups = [by_cut] if of.is_pooled else [[one] for one in by_cut]
            for group in groups:
                for line in lines_of(about, group, o.seeds):
                    print_figures(line)
                    lines.append(line)
    return lines


def chosen_repeats(of: RecommendSet, asked: str | None) -> tuple[bool | None, ...]:
    """Whether products are measured with what users had, without it, or both."""
    if "products" not in of.surfaces:
        return (None,)
    return (
        of.repeats
        if asked is None
        else {"yes": (True,), "no": (False,), "both": (False, True)}[asked]
    )


def measure_cut(
    home: BenchHome, cut: date, repeats: bool | None, o: argparse.Namespace
) -> dict[str, Measured]:
    """Figures at a cut, by surface and method."""
    methods = {"published": "mixture"} | ({name: name for name in ALONE} if o.rankers else {})
    questions: dict[str, Question] = {}
    by_seed: dict[str, dict[str, list[Figures]]] = {}
    for seed in range(o.seeds):
        for method, ranker in reversed(methods.items()):  # what is published comes last, and stays
            home.lists(cut, repeats, {"ranker": ranker, "seed": seed})
            questions = questions or questions_of(home, cut, repeats)
            for surface, question in questions.items():
                found = {method: lists_of(home.home, surface, cut, question)}
                if method == "published":
                    found |= sources_of(home.home, surface, cut, question)
                for name, lists in found.items():
                    of_method = by_seed.setdefault(surface, {}).setdefault(name, [])
                    of_method.append(figures(question, lists))
    for surface, question in questions.items():
        for name, lists in compared_with(home.of, surface, cut, question).items():
            by_seed[surface][name] = [figures(question, lists)]
    return {
        surface: {method: [averaged(seeds)] for method, seeds in of_surface.items()}
        for surface, of_surface in by_seed.items()
    }


def compared_with(
    of: RecommendSet, surface: str, cut: date, question: Question
) -> Mapping[str, Array]:
    """(E, K) lists of what knows nothing of the pipeline: twins, and of a market its oracle."""
    if not of.has_time:
        return people_twins(question)
    if of.seed is None:
        return twins(question)
    return {**twins(question), ORACLE: oracle_lists(of.market, surface, cut, question)}


def sources_of(home: Path, surface: str, cut: date, question: Question) -> dict[str, Array]:
    """(E, K) lists of each source of candidates, and their fusion."""
    by_source = candidates_of(home, surface, cut, question)
    if not by_source:
        return {}
    return {**by_source, "fusion": fused(by_source, len(question.past.items))}


def questions_of(home: BenchHome, cut: date, repeats: bool | None) -> dict[str, Question]:
    """What each surface is judged by at a cut; none where nobody has anything relevant."""
    of = home.of
    if not of.has_time:
        return {"people": people_question(home)}
    world = world_of(home.home)
    surfaces = {name: of.surface(name, repeats) for name in of.surfaces}
    asked = {
        name: world.question(surface, cut, surface.repeats) for name, surface in surfaces.items()
    }
    return {name: question for name, question in asked.items() if len(question.judged)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", nargs="+", default=list(SETS), metavar="SET",
        help=f"some of {', '.join(SETS)}, or market:SEED",
    )  # fmt: skip
    parser.add_argument("--surfaces", nargs="+", default=None, help="of each set, if it has them")
    parser.add_argument("--cuts", nargs="+", default=[], type=_day, metavar="DAY")
    parser.add_argument(
        "--repeats", choices=("yes", "no", "both"),
        help="whether products that a user has may be shown; as the set says",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rankers", action="store_true", help="LambdaRank and network alone too")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the homes")
    o = parser.parse_args(arguments)
    try:
        lines = [line for data in o.data for line in _lines_of_data(data, o)]
    except NightjarError as error:
        sys.exit(str(error))
    if lines:
        print(readable(lines))


def _lines_of_data(data: str, o: argparse.Namespace) -> list[dict[str, Any]]:
    lines = []
    asked = sets_of(data, o.surfaces)
    for of in asked:
        try:
            check_cuts(of, o.cuts)
        except NightjarError as error:
            if len(asked) == 1:
                raise
            print(error, file=sys.stderr)
            continue
        name = data.replace(":", "-") + ("" if of.has_time else "_held_out")
        home = home_of(of, o.folder.absolute() / name)
        if home is None:
            print(f"{data}: its data are not there, so it is left out", file=sys.stderr)
            continue
        lines += measure(of, home, o)
    return lines


def _day(text: str) -> date:
    return parse_day(text, "--cuts")


if __name__ == "__main__":
    main()
