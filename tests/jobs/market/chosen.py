"""What simulated users really chose in the days after a midnight, as the logs name it."""

from __future__ import annotations

from jobs.market import events
from jobs.market.lines import number_of
from jobs.market.preferences import HORIZONS
from jobs.market.social import follows_of
from jobs.market.traits import Block, Market


def chosen(market: Market, traits: Block, day: int, surface: str) -> list[tuple[int, str]]:
    """Pairs of user and thing, one per goal of a surface."""
    found: list[tuple[int, str]] = []
    for d in range(day, day + HORIZONS[surface]):
        if surface == "products":
            for rows in (events.orders_of(market, traits, d), events.reviews_of(market, traits, d)):
                found += [(u, f"i{item}") for u, item in zip(rows.user, rows.item, strict=True)]
        elif surface == "people":
            f = follows_of(market, traits, d)
            new = ~f.undone
            found += [(u, f"u{v}") for u, v in zip(f.user[new], f.followed[new], strict=True)]
        else:
            e = events.engagements_of(market, traits, d)
            clicked = (e.kind == events.AD) & (e.verb == events.AD_CLICK)
            e = e.take(clicked if surface == "ads" else (e.kind == events.POST))
            name = number_of(traits, e.target)
            for u, thing, number, made_on in zip(e.user, e.target, name, e.target_day, strict=True):
                if surface == "ads":
                    found.append((u, f"a{thing}"))
                elif made_on < day:  # others were not there to be shown
                    found.append((u, f"p{number}-{made_on}"))
    return found
