"""The fingerprint of code: what it computes counts, and neither names nor places do."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.errors import ContractError
from flows.engine import code_hash
from flows.engine.code_hash import code_fingerprint, name_of, reached
from flows.engine.fingerprints import CODE_OF_LANDING
from jobs.stages import SPARK_JOBS, job_named


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(code_hash, "ROOT", tmp_path)
    yield tmp_path
    code_hash.clear_cache()


def of(folder: Path, entry: str = "jobs.top", **modules: str) -> str:
    """The fingerprint of an entry among the modules of `jobs`, `__` between packages."""
    for path in sorted(folder.rglob("*.py")):
        path.unlink()
    for name, text in modules.items():
        path = folder / "jobs" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    code_hash.clear_cache()
    return code_fingerprint([entry])


TOP = "from jobs.below import f\n\ndef g(days):\n    n = f(days)\n    return n + 1\n"
BELOW = """_ONE = 1

def f(days):
    return max(days) + _ONE
"""


def test_prose_and_what_is_not_called_do_not_count(folder: Path) -> None:
    first = of(folder, top=TOP, below=BELOW)
    commented = '"""Doc."""\n# why\n_ONE = 1\n"""Of what."""\n\ndef f(days):\n    """More."""\n'
    commented += "    return (max(days)\n            + _ONE)\n"
    assert of(folder, top=TOP, below=commented) == first
    assert of(folder, top=TOP, below=BELOW, beside="def h():\n    return 1\n") == first
    assert of(folder, top=TOP, below=BELOW + "\ndef beside():\n    return 1\n") == first


@pytest.mark.parametrize(
    "below",
    [
        BELOW.replace("= 1", "= 2"),
        BELOW.replace("max", "min"),
        BELOW.replace("days", "dates"),  # a caller may name it
        BELOW.replace("def f", "def other") + "\ndef f(days):\n    return 1\n",
        BELOW + "\n_ONE = 3\n",
        BELOW + "\nprint(_ONE)\n",
        BELOW + "\nfor _ in (1, 2):\n    print(_)\n",
        BELOW + "\nf.known = True\n",
        BELOW.replace("def f", "@staticmethod\ndef f"),
        "import math\n" + BELOW.replace("max(", "math.ceil("),
    ],
)
def test_what_is_computed_counts_as_deep_as_it_lies(folder: Path, below: str) -> None:
    assert of(folder, top=TOP, below=below) != of(folder, top=TOP, below=BELOW)


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(
            {"top": TOP.replace("below", "rooms.under"), "rooms__under": BELOW}, id="a module moves"
        ),
        pytest.param(
            {
                "top": TOP,
                "below": BELOW.replace("_ONE = 1", "from jobs.ones import _ONE"),
                "ones": "_ONE = 1\n",
            },
            id="a definition moves",
        ),
        pytest.param({"top": BELOW + TOP.partition("\n")[2]}, id="two modules become one"),
        pytest.param(
            {
                "top": TOP.replace("f(", "latest(").replace("import f", "import latest"),
                "below": BELOW.replace("def f", "def latest").replace("_ONE", "_UNIT"),
            },
            id="definitions have other names",
        ),
        pytest.param(
            {"top": TOP.replace("n =", "end =").replace("n +", "end +"), "below": BELOW},
            id="a local variable has another name",
        ),
        pytest.param(
            {
                "top": TOP.replace("from jobs.below import f", "from jobs import below").replace(
                    "f(days)\n", "below.f(days)\n"
                ),
                "below": BELOW,
            },
            id="of its module",
        ),
        pytest.param(
            {
                "top": TOP.replace("from jobs.below import f", "import jobs.below").replace(
                    "f(days)\n", "jobs.below.f(days)\n"
                ),
                "below": BELOW,
            },
            id="of its package",
        ),
        pytest.param(
            {"top": TOP.replace("import f", "import f as g2").replace("= f", "= g2"), "below": BELOW},
            id="under another name",
        ),
        pytest.param(
            {
                "top": "def g(days):\n    from .below import f\n    n = f(days)\n    return n + 1\n",
                "below": BELOW,
            },
            id="imported where it is called",
        ),
        pytest.param(
            {"top": TOP.replace("below", "between"), "between": "from jobs.below import f\n",
             "below": BELOW},
            id="handed on",
        ),
        pytest.param(
            {
                "top": TOP,
                "below": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
                "    from jobs.hints import Hint\n" + BELOW,
                "hints": "print(1)\n",
            },
            id="hints",
        ),
    ],
)  # fmt: skip
def test_names_and_places_do_not_count(folder: Path, modules: dict[str, str]) -> None:
    assert of(folder, **modules) == of(folder, top=TOP, below=BELOW)


def test_which_of_two_definitions_is_called_counts(folder: Path) -> None:
    """Though the same definitions are reached."""
    two = "def a():\n    return 1\n\ndef b():\n    return 2\n"
    both = "from jobs.two import a, b\n\ndef g():\n    return {} - {}\n"
    assert of(folder, top=both.format("a()", "b()"), two=two) != of(
        folder, top=both.format("b()", "a()"), two=two
    )
    pair = "A, B = 1, 2\n"
    one = "from jobs.pair import A, B\n\nC = {}\n"
    assert of(folder, top=one.format("A"), pair=pair) != of(folder, top=one.format("B"), pair=pair)


def test_definitions_may_name_each_other(folder: Path) -> None:
    circle = "def even(n):\n    return n == 0 or odd(n - 1)\n\n"
    circle += "def odd(n):\n    return n != {} and even(n - 1)\n"
    first = of(folder, "jobs.circle.even", circle=circle.format(0))
    assert of(folder, "jobs.circle.even", circle=circle.format(0).replace("odd", "uneven")) == first
    assert of(folder, "jobs.circle.even", circle=circle.format(1)) != first


def test_what_a_class_calls_its_attributes_counts(folder: Path) -> None:
    text = (
        "class A:\n    size: int = 1\n    def f(self):\n        n = self.size\n        return n\n"
    )
    first = of(folder, top=text)
    assert of(folder, top=text.replace("n =", "m =").replace("return n", "return m")) == first
    assert of(folder, top=text.replace("    size: int", "    width: int")) != first
    assert of(folder, top=text.replace("def f", "def h")) != first


def test_a_variable_that_hides_a_definition_still_counts_it(folder: Path) -> None:
    text = "def n():\n    return {}\n\ndef g():\n    n = 1\n    return n\n"
    assert of(folder, "jobs.top.g", top=text.format(1)) != of(
        folder, "jobs.top.g", top=text.format(2)
    )


def test_all_of_a_module_counts_that_is_handed_on_whole(folder: Path) -> None:
    top = "from jobs import below\n\ndef g():\n    return vars(below)\n"
    assert of(folder, top=top, below=BELOW) != of(folder, top=top, below=BELOW + "\nX = 1\n")


def test_importing_what_does_something_counts(folder: Path) -> None:
    top = "from jobs import below  # for what it does\n\ndef g():\n    return 1\n"
    assert of(folder, top=top, below="print(1)\n") != of(folder, top=top, below="print(2)\n")
    main = "if __name__ == '__main__':\n    print({})\n"
    assert of(folder, top=top, below=main.format(1)) == of(folder, top=top, below=main.format(2))


def test_one_definition_of_a_module_is_taken_by_its_name(folder: Path) -> None:
    first = of(folder, "jobs.top.g", top=TOP, below=BELOW)
    assert of(folder, "jobs.top.g", top=TOP + "\ndef h():\n    return 1\n", below=BELOW) == first
    assert of(folder, top=TOP + "\ndef h():\n    return 1\n", below=BELOW) != first
    assert reached(["jobs.top.g"]) == {"jobs.top.g", "jobs.below.f", "jobs.below._ONE"}
    with pytest.raises(
        ContractError, match=r"^jobs\.top\.x is neither a module of ours nor defined"
    ):
        code_fingerprint(["jobs.top.x"])


def test_code_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each day of each source asks for it."""
    first = code_fingerprint(CODE_OF_LANDING)
    monkeypatch.setattr(code_hash, "_reached", lambda names: pytest.fail("again"))
    assert [code_fingerprint(CODE_OF_LANDING) for _ in range(3)] == [first] * 3


def test_the_state_of_users_depends_on_what_an_event_is() -> None:
    state = job_named("user_state")
    assert "jobs.features.events.events" in reached([name_of(state.compute)])


def test_every_job_is_computed_by_what_its_fingerprint_begins_with() -> None:
    for job in SPARK_JOBS:
        for function in (job.compute, job.one_pass):
            if function is not None:
                assert name_of(function) in reached([name_of(function)])


def test_code_is_read_by_several_threads_at_once() -> None:
    """The collector hands over to another thread amid a parse, as it does while Spark runs."""
    hand_over = lambda phase, info: time.sleep(0.0001)  # noqa: E731
    thresholds = gc.get_threshold()
    gc.callbacks.append(hand_over)
    gc.set_threshold(500)
    try:
        code_hash.clear_cache()
        with ThreadPoolExecutor(4) as threads:
            assert len(set(threads.map(code_fingerprint, [["jobs.stages"]] * 4))) == 1
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(hand_over)
