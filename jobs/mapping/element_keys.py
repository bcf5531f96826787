"""The keys that a mapping names in the elements of its arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from contracts.values import masked
from jobs.mapping.columns import is_among, listed, nearest
from jobs.mapping.tokens import tokens

Keys = dict[str, "Keys"]
KeyPath = tuple[str, ...]
ELEMENT = "each"
"""The column that expressions know an element by."""
MAX_KEYS = 30
"""Keys of elements that a message lists."""
NUMBER = "element_number"
"""The column with its place in the array, from 1, unless a raw column has this name."""


def column_of(each: str) -> str | None:
    """The raw column that an `each` is; None if an expression makes the array."""
    listed = tokens(each)
    is_column = len(listed) == 1 and listed[0].kind in ("word", "name")
    return listed[0].text.strip("`") if is_column else None


def keys_of(texts: Iterable[str]) -> Keys:
    """The keys that follow `each.` in expressions, as deep as they go."""
    keys: Keys = {}
    for text in texts:
        listed = tokens(text)
        for i, token in enumerate(listed):
            is_column = token.text.strip("`").lower() == ELEMENT and token.kind in ("word", "name")
            if not is_column or (i > 0 and listed[i - 1].text == "."):
                continue
            below = keys
            for dot, name in zip(listed[i + 1 :: 2], listed[i + 2 :: 2], strict=False):
                if dot.text != "." or name.kind not in ("word", "name"):
                    break
                below = below.setdefault(name.text.strip("`"), {})
    return keys


def paths_of(keys: Keys) -> Iterator[KeyPath]:
    """Every key that expressions reach for, with those that it lies below."""
    for name, below in keys.items():
        yield from ((name, *path) for path in paths_of(below)) if below else ((name,),)


class SeenKeys:
    """Which of the keys that a mapping names the elements of a file's arrays have, and which keys
    there are."""

    def __init__(self, paths: Iterable[KeyPath]):
        self._paths = frozenset(paths)
        self.unseen = set(self._paths)
        self.n_elements = 0
        """Objects that were looked at."""
        self._found: Counter[KeyPath] = Counter()
        """In how many of them a key was that stands where one was looked for."""

    def note(self, elements: object) -> None:
        """Note the keys of an array's elements, if it is one."""
        for element in elements if isinstance(elements, list) else ():
            if self.unseen and isinstance(element, dict):
                self.n_elements += 1
                self._note(element)

    def _note(self, element: dict[str, object]) -> None:
        beside: set[KeyPath] = set()
        for path in sorted(self.unseen):
            value: object = element
            for depth, key in enumerate(path):
                if not isinstance(value, dict):
                    break
                beside.update((*path[:depth], other) for other in value)
                if key not in value:
                    break
                value = value[key]
            else:
                self.unseen.discard(path)
        for path in sorted(beside):
            if path in self._found or len(self._found) < MAX_KEYS:
                self._found[path] += 1

    @property
    def are_absent(self) -> bool:
        """Whether there are elements, of which none has some key."""
        return bool(self.unseen) and self.n_elements > 0

    def absent_message(self, column: str) -> str:
        """Which keys no element had, what they may have been meant to be, and what is there."""
        known = {path for path in self._found if self._is_known(path)}
        names = [".".join(path) for path in sorted(known)]
        absent = []
        for path in sorted(self.unseen):
            like = nearest(".".join(path), names)
            absent.append(".".join(path) + (f" (is it {like}?)" if like else ""))
        present = [
            listed([".".join(path)]) if path in known else ".".join((*path[:-1], masked(path[-1])))
            for path in sorted(self._found)
        ]
        return (
            f"no element of {column} has the key {', '.join(absent)}; the keys there are "
            f"{', '.join(present) or 'none'}"
        )

    def _is_known(self, path: KeyPath) -> bool:
        """Whether it is a key for sure: it stands beside one that the mapping names, or in two
        elements and at least half of all. An object may be keyed by people."""
        *parent, _ = path
        depth = len(parent)
        expected = [p[depth] for p in self._paths if len(p) > depth and p[:depth] == path[:depth]]
        beside = [p[-1] for p in self._found if p[:-1] == path[:-1]]
        n = self._found[path]
        return is_among(expected, beside) or (n > 1 and n * 2 >= self.n_elements)


def absent_message(elements: Mapping[str, SeenKeys]) -> str | None:
    """Which keys no element of some column has, and what to do; None if none is absent."""
    absent = "; ".join(
        keys.absent_message(column) for column, keys in elements.items() if keys.are_absent
    )
    hint = 'if elements may lack it, say missing_key = "null" in the mapping'
    return f"{absent}; {hint}" if absent else None
