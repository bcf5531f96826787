from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import UsageError
from flows.engine.fingerprints import Fingerprints, Outputs, decide
from flows.settings import read_settings
from flows.state.raw_file_hashes import RawFileHashes
from flows.state.receipts import Fingerprint, Receipt, Receipts
from flows.state.schema import open_database
from jobs.mapping.sources import SourceMapping
from jobs.stage import Settings
from jobs.values.user_key import UserKey

D = date(2025, 1, 1)
PRINT = Fingerprint("code", "configuration", "inputs")
RECEIPT = Receipt(
    "s",
    D,
    PRINT,
    {"t": {"digest": "d", "rows": 1, "snapshot": 2}},
    1,
    1,
    0.5,
    9,
    None,
    "run",
    datetime(2025, 1, 2, tzinfo=UTC),
)


def test_what_moved_is_named() -> None:
    assert decide("s", D, PRINT, None).reason == "never computed"
    assert decide("s", D, PRINT, RECEIPT).reuse
    moved = decide("s", D, Fingerprint("other", "configuration", "moved"), RECEIPT)
    assert (moved.reuse, moved.reason) == (False, "code changed, input moved")


def test_a_lookup_that_changed_is_named() -> None:
    was = replace(RECEIPT, fingerprint=Fingerprint("code", "configuration", "inputs a=1 b=2"))

    def why(configuration: str, inputs: str) -> str:
        return decide("s", D, Fingerprint("code", configuration, inputs), was).reason

    assert why("configuration", "inputs a=1 b=2") == "nothing changed"
    assert why("configuration", "inputs a=1 b=3") == "lookup b changed"
    assert why("configuration", "moved a=0 b=3") == (
        "input moved, lookup a changed, lookup b changed"
    )
    assert why("other", "inputs a=1") == "configuration changed"
    assert why("configuration", "inputs") == "lookup a changed, lookup b changed"


def test_a_window_is_hashed_alike_whatever_lies_before_it() -> None:
    written = {D + timedelta(days=n): (f"digest {n}", D + timedelta(days=n)) for n in range(5)}
    older = {D - timedelta(days=1): ("older", D - timedelta(days=1))}
    start, end = D, D + timedelta(days=3)
    for before in (None, D + timedelta(days=2)):
        alone = Outputs(written).hash(start, end, before)
        assert Outputs(older | written).hash(start, end, before) == alone
        assert Outputs(older | written).hash(None, end, before) != alone
        moved = written | {D: ("other", D)}
        assert Outputs(moved).hash(start, end, before) != alone
    assert Outputs({}).hash(start, end, None) == Outputs(older).hash(start, end, None)


def test_receipts_are_read_back_and_replaced(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/n.db"
    Receipts(open_database(url)).write([RECEIPT, replace(RECEIPT, stage="t")])
    Receipts(open_database(url)).write([replace(RECEIPT, rows_out=7)])
    receipts = Receipts(open_database(url))
    assert receipts.get("s", D).rows_out == 7
    assert receipts.get("t", D).fingerprint == PRINT
    assert receipts.days("s") == (D,)


def test_a_raw_file_is_hashed_again_when_it_changes(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    path = tmp_path / "a.csv"
    path.write_text("1")
    first = RawFileHashes(engine).of([path])[path]
    assert RawFileHashes(engine).of([path])[path] == first
    path.write_text("22")
    assert RawFileHashes(engine).of([path])[path] != first


def test_a_setting_that_is_none_of_ours_or_out_of_range_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightjar.toml").write_text("colour = 'red'\nexample_spacing_days = 0\n")
    with pytest.raises(UsageError) as error:
        read_settings()
    assert str(error.value) == (
        "the settings are not valid:\n"
        "  example_spacing_days: Input should be greater than or equal to 1\n"
        "  colour: Extra inputs are not permitted"
    )


def test_a_variable_that_is_almost_a_setting_is_refused_and_others_are_left_alone(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTJAR_MAX_SCORE_SHFT", "0.1")
    monkeypatch.setenv("NIGHTJAR_TRIAN__SEED", "3")
    monkeypatch.setenv("NIGHTJAR_TEAM", "owls")
    with pytest.raises(UsageError) as error:
        read_settings()
    assert str(error.value) == (
        "the settings are not valid:\n"
        "  NIGHTJAR_MAX_SCORE_SHFT: expected NIGHTJAR_MAX_SCORE_SHIFT, perhaps\n"
        "  NIGHTJAR_TRIAN__SEED: expected NIGHTJAR_TRAIN__SEED, perhaps"
    )


def test_the_environment_wins_over_the_file_and_an_option_over_both(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightjar.toml").write_text(
        "settle_days = 3\nmlflow_port = 1\n[train]\nnetwork.width = 16\n"
    )
    monkeypatch.setenv("NIGHTJAR_SETTLE_DAYS", "4")
    monkeypatch.setenv("NIGHTJAR_TRAIN__NETWORK__DEPTH", "3")
    monkeypatch.setenv("NIGHTJAR_TRAIN__OPTIMISER__MAX_GRAD_NORM", "none")
    settings = read_settings(home=tmp_path / "x")
    assert (settings.settle_days, settings.mlflow_port, settings.home) == (4, 1, tmp_path / "x")
    assert (settings.train.network.width, settings.train.network.depth) == (16, 3)
    assert settings.train.optimiser.max_grad_norm is None


def test_a_setting_by_its_old_name_is_refused_with_the_new_one(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightjar.toml").write_text("[train]\nwidth = 16\ntie = 0.1\n")
    monkeypatch.setenv("NIGHTJAR_TRAIN__MAX_EPOCHS", "2")
    with pytest.raises(UsageError) as error:
        read_settings(home=tmp_path / "x")
    assert str(error.value) == (
        "the settings are not valid:\n"
        "  train: train.max_epochs is now train.optimiser.max_epochs; "
        "train.width is now train.network.width; train.tie is gone: it made no model better "
        "(docs/decisions/relations-between-tasks.md)"
    )


def test_a_setting_in_the_wrong_group_is_refused_with_the_right_one(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightjar.toml").write_text(
        "[train.netwerk]\ndepth = 1\n[train.optimiser]\nwidth = 16\n"
        "[train.network]\nnormalisation = 'layer'\nwidths = 3\ndepth = 2\n[train.machine]\nzzz = 1\n"
    )
    with pytest.raises(UsageError) as error:
        read_settings(home=tmp_path / "x")
    assert str(error.value) == (
        "the settings are not valid:\n"
        "  train: there is no setting train.machine.zzz; "
        "there is no setting train.netwerk; did you mean train.network?; "
        "there is no setting train.network.widths; did you mean train.network.width?; "
        "train.optimiser.width is not in this group: it is train.network.width; "
        "train.network.normalisation is gone: no experiment spoke for it "
        "(docs/decisions/settings-of-training.md)"
    )


def test_a_file_of_settings_that_is_not_toml_is_refused_in_one_sentence(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightjar.toml").write_text("[train.network\n")
    with pytest.raises(UsageError, match=r"^nightjar.toml: expected TOML in UTF-8, found: "):
        read_settings(home=tmp_path / "x")
    (tmp_path / "nightjar.toml").write_bytes(b"source = '\xe4.toml'\n")
    with pytest.raises(UsageError, match=r"^nightjar.toml: expected TOML in UTF-8, found: "):
        read_settings(home=tmp_path / "x")


def test_a_key_is_needed_and_must_be_ones_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nightjar new-key"):
        read_settings().user_key()
    path = tmp_path / "key"
    path.write_text("0123456789abcdef0123")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="mode is 0644, so others may read the key; expected 0600"):
        read_settings(key_file=path).user_key()
    path.chmod(0o600)
    key = read_settings(key_file=path).user_key()
    assert repr(key) == f"UserKey(id={key.id})"
    assert "0123456789abcdef" not in repr(read_settings(key="0123456789abcdef0123"))


class Interrupted(dict[tuple[str, str], Outputs]):
    """Outputs in whose midst, once they are looked through, another thread reads more."""

    def __init__(self, known: dict[tuple[str, str], Outputs], read: Callable[[], object]) -> None:
        super().__init__(known)
        self._other = threading.Thread(target=read)

    def items(self) -> Iterator[tuple[tuple[str, str], Outputs]]:  # type: ignore[override]
        for item in super().items():
            if self._other.ident is None:
                self._other.start()
                self._other.join(0.5)  # it waits for its turn, or is done by now
            yield item

    def wait(self) -> None:
        self._other.join(30)


def test_a_stage_is_invalidated_while_others_read(tmp_path: Path) -> None:
    receipts = Receipts(open_database(f"sqlite:///{tmp_path}/n.db"))
    fingerprints = Fingerprints(receipts, Settings(SourceMapping("t", ()), UserKey(b"k" * 32)))
    for stage in ("a", "b"):
        fingerprints.outputs(stage, "t")
    outputs = Interrupted(fingerprints._outputs, lambda: fingerprints.outputs("c", "t"))
    fingerprints._outputs = outputs
    fingerprints.invalidate("a")
    outputs.wait()
    assert set(fingerprints._outputs) == {("b", "t"), ("c", "t")}
