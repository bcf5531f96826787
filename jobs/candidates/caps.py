"""How much of what there is counts in sources of candidates, so that one wholesaler or celebrity
costs no more than anybody else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caps:
    """At most so many, the first by what each source says."""

    own: int = 100
    """Items of a user that count in what goes together: what a wholesaler has makes no more pairs
    than that, and on Online Retail 100 are better than 200."""
    neighbours: int = 50
    """Items that one item suggests."""
    categories: int = 10
    """Categories that interest a user."""
    of_category: int = 50
    """Items that a category suggests."""
    authors: int = 100
    """Authors whom a user follows."""
    posts: int = 20
    """Newest posts that an author suggests."""
    liked: int = 50
    """Items of a user that count in same tastes."""
    fans: int = 50
    """Users whom an item suggests."""
    friends: int = 200
    """Users next to a user, the closest: with 100 friends of friends lose .003 of nDCG@10."""
    followed: int = 100
    """Users whom each of them suggests, the most followed of those whom they follow."""
    reached: int = 50
    """Users whom each of them suggests besides, from two steps on."""
    followers: int = 200
    """Users who follow a user."""
    users: int = 20_000
    """Users, or items, about, that one task sees of a day and surface: so its memory is bounded."""
    rows: int = 50_000
    """Users and items of a day up to which one task sees it all: some hundred megabytes."""
