"""What can be done to files of a home, and what they are named."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import UsageError
from flows.settings import read_settings
from flows.storage.home import Home, catalogue_database, data_files, staging_folder
from flows.storage.location import is_within, join, plain_path
from flows.storage.storage import Storage

ODD = "a b ü%23 #'$"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / ODD).mkdir()
    return Home.of(tmp_path / ODD)


def test_a_text_replaces_another_whole_and_leaves_nothing_beside_it(home: Home) -> None:
    page = home.report(date(2025, 1, 1))
    home.storage.write_text(page, "one\n")
    home.storage.write_text(page, "zwei ü\n")
    assert home.storage.read_text(page) == "zwei ü\n"
    assert [file.location for file in home.storage.files(home.reports)] == [page]
    assert home.storage.size(page) == len("zwei ü\n".encode())
    assert home.storage.local_path(page) == home.path / "reports" / "2025-01-01.html"


def test_files_are_listed_by_name_with_sizes_and_times_and_no_links(home: Home) -> None:
    runs, elsewhere = home.path / "runs", home.path.parent / "elsewhere"
    for folder in (runs / "b", runs / "a", elsewhere):
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}")
    (runs / "c").symlink_to(elsewhere)
    (runs / "a" / "link.json").symlink_to(elsewhere / "spec.json")
    listed = home.storage.files(home.runs, recursive=True)
    assert [file.location for file in listed] == [home.run(run, "spec.json") for run in ("a", "b")]
    assert {file.bytes for file in listed} == {2}
    now = datetime.now(UTC)
    assert all(now - timedelta(minutes=5) < file.changed_at <= now for file in listed)
    assert [folder.location for folder in home.storage.folders(home.runs)] == [
        home.run("a"),
        home.run("b"),
    ]
    assert home.storage.files(home.run("nobody's")) == []


def test_a_folder_is_removed_with_what_is_in_it_and_nothing_behind_links(home: Home) -> None:
    elsewhere = home.path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    run = home.storage.local_path(home.storage.make_folder(home.run("one", "deep")))
    (run / "file").touch()
    (run / "link").symlink_to(elsewhere)
    home.storage.remove_folder(home.run("one"))
    home.storage.remove_folder(home.run("one"))
    assert not home.storage.exists(home.run("one"))
    assert (elsewhere / "kept").exists()


def test_a_folder_that_cannot_be_removed_is_not_taken_for_gone(home: Home) -> None:
    home.storage.write_text(home.run("file"), "")
    for folder in (home.run("file"), home.run("file", "inside")):
        with pytest.raises(OSError, match=r"[Nn]ot a directory"):
            home.storage.remove_folder(folder)
        home.storage.discard_folder(folder)
    assert home.storage.exists(home.run("file"))
    home.storage.remove_folder(home.run("nobody's"))


def test_a_log_that_is_open_on_nfs_does_not_keep_the_rest_of_its_folder(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = home.run("open")
    held, other = (home.run("open", name) for name in (".nfs0017", "report.json"))
    for file in (held, other):
        home.storage.write_text(file, "")

    def not_empty(storage: Storage, location: str) -> None:
        raise OSError(39, "Directory not empty", location)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "_remove_folder", not_empty)
        home.storage.remove_folder(run)
        assert [file.location for file in home.storage.files(run, recursive=True)] == [held]
        home.storage.remove(held)
        with pytest.raises(OSError, match="Directory not empty"):
            home.storage.remove_folder(run)
    home.storage.remove_folder(run)
    assert not home.storage.exists(run)


def test_folders_that_a_removal_leaves_empty_go_up_to_the_root(home: Home) -> None:
    for names in (("one", "x"), ("two", "x")):
        home.storage.write_text(home.run(*names, "file"), "")
    home.storage.write_text(home.run("two", "y"), "")
    for run in ("one", "two"):
        file = home.run(run, "x", "file")
        home.storage.remove(file)
        home.storage.remove(file)
        home.storage.remove_empty_folders(home.run(run, "x"), home.runs)
    assert [folder.location for folder in home.storage.folders(home.runs)] == [home.run("two")]
    assert home.storage.folders(home.run("two")) == []


def test_a_folder_is_copied_and_put_in_its_place_in_one_step(home: Home) -> None:
    home.storage.write_text(home.run("one", "train", "model", "deep", "weights"), "w")
    part = home.model(".m1.part")
    home.storage.copy_folder(home.run("one", "train", "model"), join(part, "model"))
    home.storage.replace(join(part, "model"), home.model("m1"))
    assert home.storage.read_text(join(home.model("m1"), "deep", "weights")) == "w"
    assert home.storage.is_folder(home.model("m1"))
    assert not home.storage.is_folder(join(home.model("m1"), "deep", "weights"))


def test_an_error_names_its_file(home: Home) -> None:
    absent = home.run("one", "spec.json")
    for act in (home.storage.read_text, home.storage.size):
        with pytest.raises(FileNotFoundError) as error:
            act(absent)
        assert error.value.filename == plain_path(absent)
        assert error.value.strerror == "No such file or directory"
    home.storage.write_text(absent, "")
    with pytest.raises(NotADirectoryError) as wrong:
        home.storage.make_folder(join(absent, "below"))
    assert wrong.value.filename == plain_path(join(absent, "below"))


def test_what_is_on_no_disk_of_this_machine_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        Storage("s3://bucket/home")
    message = str(error.value)
    assert message == (
        "s3://bucket/home is an address; homes, mappings, raw files and keys are read from folders "
        "of this machine so far: give a path, such as where it is mounted"
    )
    with pytest.raises(UsageError) as error:
        Storage("file:///home").local_path("s3://bucket/home")
    assert str(error.value) == message


def test_a_home_stays_where_it_was_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NIGHTJAR_HOME", raising=False)
    default, given = read_settings(), read_settings(home="given")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert default.home_folder.path == tmp_path / ".nightjar"
    assert given.home_folder.path == tmp_path / "given"


def test_a_location_is_within_a_folder_by_where_it_really_lies(home: Home) -> None:
    (home.path.parent / "link").symlink_to(home.path)
    assert is_within(f"{home.path.parent}/link/lake/file", home.root)
    assert is_within(f"{home.root}/runs/../lake", home.lake.rpartition("/")[0])
    assert not is_within(f"{home.root}/../lake", home.root)
    assert not is_within(f"{home.root}er/lake", home.root)


def test_everything_lies_where_earlier_versions_put_it(tmp_path: Path) -> None:
    """A place that moves leaves files behind that no housekeeping looks for."""
    home = Home.of(tmp_path)
    uris = {
        home.lake: "lake",
        data_files(home.lake): "lake/files",
        staging_folder(home.lake, "r1"): "lake/files/r1",
        home.runs: "runs",
        home.run("r1", "train"): "runs/r1/train",
        home.checkpoints("ab12"): "runs/training-ab12",
        home.scoring: "runs/scoring",
        home.retrieval: "runs/retrieval",
        home.ranking: "runs/ranking",
        home.page_reasons: "runs/pages",
        home.models: "models",
        home.model("m1"): "models/m1",
        home.reports: "reports",
        home.report(date(2025, 1, 1)): "reports/2025-01-01.html",
        home.mlflow_artifacts: "mlartifacts",
        home.mark: "home.json",
        home.simulated_logs(300): "demo/300-users",
    }
    assert {uri: f"file://{tmp_path}/{name}" for uri, name in uris.items()} == {u: u for u in uris}
    paths = {
        home.analysts_file: "nightjar.duckdb",
        home.database: "nightjar.db",
        catalogue_database(home.lake): "lake/catalogue.db",
        home.mlflow_database: "mlflow.db",
        home.tuning_database: "tune.db",
        home.mlflow_accounts: "mlflow_accounts.db",
        home.mlflow_accounts_settings: "mlflow_accounts.ini",
        home.prefect: "prefect",
        home.logs: "logs",
        home.scratch: "scratch",
        home.process_folder("r1"): "runs/r1",
    }
    assert {path: tmp_path / name for path, name in paths.items()} == {p: p for p in paths}
    assert home.mlflow_artifacts_uri == (tmp_path / "mlartifacts").as_uri()
    assert str(home) == str(tmp_path)
