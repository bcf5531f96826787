"""What `make bench-recommend` asks, answers by simple methods, and prints."""

from __future__ import annotations

import gzip
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from contracts.errors import UsageError
from contracts.surfaces import SURFACES
from flows.cli.main import DEMO_KEY
from jobs.market.preferences import preferences_of
from jobs.market.traits import Market, blocks
from jobs.values.user_key import UserKey
from models.ranking.metrics import NO_ITEM
from tests.bench import list_oracle
from tests.bench.list_oracle import Truth
from tests.bench.recommend_lines import lines_of, readable
from tests.bench.recommend_lists import popular_of
from tests.bench.recommend_oracle import oracle_lists
from tests.bench.recommend_people import page_rank
from tests.bench.recommend_protocol import (
    EPOCH,
    Past,
    Question,
    World,
    averaged,
    figures,
    paired,
    pooled,
)
from tests.bench.recommend_sets import (
    CIAO_PEOPLE,
    CIAO_PRODUCTS,
    SETS,
    SOURCES_FOLDER,
    check_cuts,
    edges_mapping,
    edges_of,
    held_out,
    retail_mapping,
    sets_of,
)
from tests.bench.recommend_twins import fused, twins

CUT = date(2011, 9, 1)
PRODUCTS = next(surface for surface in SURFACES if surface.name == "products")
T = (CUT - EPOCH).days


def world(*rows: str, catalogue: str = "") -> World:
    """Rows of `user item day`, and `+n` for one that landed n days late; days count from the cut.
    Items of the catalogue have landed two days before it."""
    users, items, days, landed, events = [], [], [], [], []
    for row in rows:
        user, item, day, *rest = row.split()
        late = [int(word) for word in rest if word.startswith("+")]
        users.append(user)
        items.append(item)
        days.append(T + int(day))
        landed.append(T + int(day) + (late[0] if late else 0))
        events.append(next((word for word in rest if not word.startswith("+")), "order"))
    of = {
        "user_key": np.array(users), "target_id": np.array(items), "event": np.array(events),
        "target_kind": np.full(len(rows), "item"), "day": np.array(days),
        "landed_on": np.array(landed),
    }  # fmt: skip
    there = np.array(sorted(catalogue.split()), dtype=str)
    return World(of, {"item": (there, np.full(len(there), T - 2))} if catalogue else {})


WORLD = world(
    "ann a -9", "ann a -1", "ann b 0", "ann b 5", "ann a 3", "ann c 29",
    "ann d 30",  # after the window
    "bob a 2", "bob b -2",
    "bob c -1 +1",  # landed on the day of the cut: not known before it
    "cat b -3", "cat b 4",
    "dan c -8 view", "dan a 1 view",  # views are no goals
    "eve a 1",  # nobody knew her
    "fay b 2 review", "fay c -1 view",
    catalogue="a b c z",
)  # fmt: skip


def test_judged_are_known_users_with_a_new_known_item_in_the_window() -> None:
    question = WORLD.question(PRODUCTS, CUT, repeats=False)
    keys = question.keys[question.row]
    pairs = list(zip(keys.tolist(), question.past.items[question.item].tolist(), strict=True))
    # d was not known; what ann and cat had is not new to them
    assert pairs == [("ann", "b"), ("ann", "c"), ("bob", "a"), ("fay", "b")]
    assert question.past.users.tolist() == ["ann", "bob", "cat", "dan", "fay"]
    assert question.past.items.tolist() == ["a", "b", "c", "z"]
    assert question.masked.toarray().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_with_repeats_what_was_had_is_relevant_and_nothing_is_masked() -> None:
    question = WORLD.question(PRODUCTS, CUT, repeats=True)
    keys = question.keys[question.row]
    pairs = list(zip(keys.tolist(), question.past.items[question.item].tolist(), strict=True))
    assert pairs == [
        ("ann", "a"), ("ann", "b"), ("ann", "c"), ("bob", "a"), ("cat", "b"), ("fay", "b"),
    ]  # fmt: skip
    assert question.masked.nnz == 0


def test_the_past_counts_days_and_halves_them_by_age() -> None:
    past = WORLD.question(PRODUCTS, CUT, repeats=False).past
    assert past.counts.toarray()[0].tolist() == [2, 0, 0, 0]
    assert past.decayed(4.0).toarray()[0, 0] == 2 ** (-9 / 4) + 2 ** (-1 / 4)


def test_masked_items_make_room_and_unknown_ones_do_not_count() -> None:
    question = WORLD.question(PRODUCTS, CUT, repeats=False)
    lists = question.lists_of(["bob", "nobody", "ann"], [["b", "d", "a"], ["a"], ["a", "c"]])
    assert lists.tolist() == [[0, 2, NO_ITEM], [1, NO_ITEM, 0], [NO_ITEM] * 3]
    assert question.masked_first(lists, 2).tolist() == [[2, NO_ITEM], [0, NO_ITEM], [NO_ITEM] * 2]


def test_figures_are_pooled_over_the_users_of_all_cuts() -> None:
    question = WORLD.question(PRODUCTS, CUT, repeats=False)
    best = figures(question, question.lists_of(["ann", "bob", "fay"], [["b", "c"], ["a"], ["b"]]))
    none = figures(question, question.lists_of([], []))
    assert best.ndcg10.tolist() == [1.0, 1.0, 1.0]
    assert best.coverage10 == 3 / 4
    both = pooled([best, none])
    assert (both["ndcg10"], both["recall20"], both["coverage10"]) == (0.5, 0.5, 0.375)
    assert (both["low"], both["high"]) == (0.5, 0.5)  # each user has a whole and an empty list
    assert averaged([best, none]).ndcg10.tolist() == [0.5, 0.5, 0.5]
    assert paired([best], [none]) == [1.0, 1.0, 1.0]


def test_twins_find_what_goes_together() -> None:
    """Who orders one of a pair orders the other soon: `last` has had only one of hers."""
    rows = [f"u{n} {item} -{5 + n}" for n in range(8) for item in ("left", "right")]
    rows += [f"v{n} {item} -{5 + n}" for n in range(8) for item in ("salt", "pepper")]
    rows += ["last salt -2", "last pepper 3", "v0 salt -1", "v0 left 1"]
    question = world(*rows).question(PRODUCTS, CUT, repeats=False)
    lists = twins(question)
    last = question.keys.tolist().index("last")
    first = {name: question.past.items[found[last, 0]] for name, found in lists.items()}
    assert first.pop("popular_twin") == "left"
    own = lists["own_twin"][last]
    assert (own == NO_ITEM).all()
    del first["own_twin"]
    assert first == dict.fromkeys(("knn_twin", "ials_twin", "ease_twin"), "pepper")


def test_fusion_adds_reciprocal_ranks() -> None:
    lists = {"one": np.array([[3, 1, 0]]), "other": np.array([[1, 2, NO_ITEM]])}
    # 1: 1/62 + 1/61; 3: 1/61; 2: 1/62; 0: 1/63
    assert fused(lists, 5)[0, :5].tolist() == [1, 3, 2, 0, NO_ITEM]


def test_walks_from_a_user_are_at_those_whom_the_friends_follow() -> None:
    follows = sp.csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]))
    (walk,) = page_rank(follows)(np.array([0]))
    assert walk.tolist() == [0.15, 0.15 * 0.85, pytest.approx(0.15 * 0.85**2), 0.0]


@pytest.mark.parametrize("surface", ["products", "posts", "people"])
def test_the_oracle_names_users_and_what_they_choose_as_the_tables_do(surface: str) -> None:
    market = Market(300, date(2025, 1, 1), 60, 5)
    key, cut = UserKey(DEMO_KEY.encode()), date(2025, 2, 20)
    (traits,) = blocks(market)
    ((_, chosen), *_) = preferences_of(market, traits, 50, surface)
    names = chosen.names.to_pylist()
    of_user = int(chosen.user[0])
    first = names[chosen.thing[0]]
    hashed = {"products": first, "posts": key.of(f"post\x1f{first}"), "people": key.of(first)}
    users = np.array([key.of(f"u{of_user}")])
    items = np.array([hashed[surface]])
    one = np.zeros(1, dtype=np.int64)
    nothing = sp.csr_matrix((1, 1))
    question = Question(Past(users, items, one, one, one, nothing), one, one, one, nothing)
    lists = oracle_lists(market, surface, cut, question)
    assert lists[0, 0] == 0
    assert (lists[0, 1:] == NO_ITEM).all()


def test_the_mappings_of_the_bench_are_those_of_the_project_with_less() -> None:
    retail = retail_mapping((SOURCES_FOLDER / "online_retail.toml").read_text())
    assert retail.count("InvoiceNo not like 'C%'") == 3
    edges = edges_mapping((SOURCES_FOLDER / "ciao.toml").read_text())
    assert "valid_from = \"'2000-05-30'\"" in edges
    assert edges.count("2011-04-12") == 1  # of what readers found helpful
    with pytest.raises(UsageError) as error:
        edges_mapping("[sources.trust]\n")
    assert str(error.value) == (
        "the mapping that the bench derives its own from has changed: expected landed_on = "
        "\"date'2011-04-12'\" 1 times, found 0"
    )


def test_whole_pairs_are_held_out_in_both_directions(tmp_path: Path) -> None:
    rows = [f"{a},{b}" for a in range(30) for b in range(30) if (a + b) % 3]
    (tmp_path / "trust.csv.gz").write_bytes(
        gzip.compress("\n".join(["trustor,trustee", *rows]).encode())
    )
    edges = edges_of(tmp_path)
    is_out = held_out(edges)
    out = {(a, b) for a, b in edges[is_out].tolist()}
    assert all((b, a) in out for a, b in out)
    pairs = {tuple(sorted(edge)) for edge in edges.tolist()}
    assert len(out) / 2 == round(0.2 * len(pairs))


def test_sets_are_named_and_ciaos_edges_have_no_figures_by_time() -> None:
    assert len(CIAO_PRODUCTS.cuts) == 10
    assert CIAO_PRODUCTS.surface("products").horizon_days == 90
    assert [of.surfaces for of in sets_of("ciao", ["people"])] == [("people",)]
    (other,) = sets_of("market:31", None)
    assert other.seed == 31
    assert other.surface("products", repeats=True).repeats
    # A market ends with what is looked for; real logs go on.
    assert other.landed_before(other.cuts) == date(2025, 11, 27)
    assert CIAO_PRODUCTS.landed_before([date(2010, 7, 1)]) == date(2010, 10, 1)
    with pytest.raises(UsageError) as error:
        sets_of("nobody", None)
    assert str(error.value) == (f"--data nobody: expected market:SEED or some of {', '.join(SETS)}")
    check_cuts(CIAO_PRODUCTS, [CUT])
    with pytest.raises(UsageError) as error:
        check_cuts(CIAO_PEOPLE, [CUT])
    assert str(error.value) == (
        "--cuts: who follows whom in ciao has no time, so there is no before and after of a day; "
        "leave out --cuts, and pairs of users that were held out are looked for"
    )


def test_what_is_popular_is_a_source_to_all_and_to_those_of_a_segment() -> None:
    users = [("ann", "DE", None), ("bob", None, "toys")]
    popular = [
        ("all", "popular_10d", ["a"]),
        ("all", "new", ["n"]),
        ("category=toys", "new", ["t"]),
        ("country=DE", "popular_10d_in_segment", ["d"]),
        ("country=FR", "popular_10d_in_segment", ["f"]),
        ("category=toys", "popular_10d_in_segment", ["t"]),
    ]
    assert popular_of(users, popular) == {
        "popular_10d": [("ann", ["a"]), ("bob", ["a"])],
        "new": [("ann", ["n"]), ("bob", ["n"])],
        "new_category": [("bob", ["t"])],
        "popular_10d_in_segment_country": [("ann", ["d"])],
        "popular_10d_in_segment_category": [("bob", ["t"])],
    }


def test_lines_have_the_gain_over_the_best_source_and_the_table_has_peers() -> None:
    question = WORLD.question(PRODUCTS, CUT, repeats=False)
    users = ["ann", "bob", "fay"]
    measured = {
        "published": [figures(question, question.lists_of(users, [["b", "c"], ["a"], ["b"]]))],
        "factors": [figures(question, question.lists_of(users, [["z"], ["a"], ["z"]]))],
        "popular_10d": [figures(question, question.lists_of([], []))],
        "ials_twin": [figures(question, question.lists_of([], []))],
    }
    about = {"data": "online_retail", "surface": "products", "repeats": False}
    lines = lines_of(about, [(CUT, measured)], seeds=3)
    assert [(line["method"], line["seeds"], line["users"]) for line in lines] == [
        ("published", 3, 3), ("factors", 1, 3), ("popular_10d", 1, 3), ("ials_twin", 1, 3),
    ]  # fmt: skip
    published, factors, *_ = lines
    assert published["best_source"] == "factors"
    assert published["over_best_source"] == [pytest.approx(2 / 3), 0.0, 1.0]
    assert "over_best_source" not in factors
    _, _, first, *_, last = readable(lines).splitlines()
    assert [cell.strip() for cell in first.split("|")[1:-1]] == [
        "online_retail", "products", "2011-09-01", "no", "published", "1.0000", "1.0000 to 1.0000",
        "+0.6667 (+0.0000 to +1.0000), factors", "1.0000", "1.000", "0.750", "0.375", "0.121", "",
    ]  # fmt: skip
    assert last.rstrip(" |").endswith("0.106")
    with_oracle = {**measured, "oracle": measured["published"]}
    shares = {
        line["method"]: line["share_of_oracle"]
        for line in lines_of(about, [(CUT, with_oracle)], seeds=1)
    }
    assert (shares["oracle"], shares["factors"]) == (1.0, pytest.approx(1 / 3))
    later = lines_of(about, [(CUT, measured), (CUT + timedelta(days=90), measured)], seeds=1)
    assert later[0]["cut"] == "2011-09-01 … 2011-11-30 (2)"


def test_the_newest_lists_are_beside_what_each_would_choose_without_what_is_hidden() -> None:
    truth = Truth(
        {"ann": {"hat": 0.6, "mug": 0.3, "pen": 0.1}, "bob": {"hat": 0.5}},
        {"ann": {"mug", "hat"}, "bob": set()},
    ).without({"ann": {"hat"}})
    assert truth.expected["ann"] == {"mug": 0.3, "pen": 0.1}
    shown = {"ann": ["pen", "mug"], "bob": []}
    assert list_oracle.ndcg(shown, truth.chosen) == pytest.approx(1 / np.log2(3))
    assert list_oracle.ndcg({}, truth.chosen) == 0
    assert list_oracle.expected_share(shown, truth) == pytest.approx(0.4 / 0.9)
