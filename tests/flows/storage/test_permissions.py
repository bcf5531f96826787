"""The home, and files that may hold secrets, are the pipeline's own account's alone."""

from __future__ import annotations

import stat
from pathlib import Path

from flows import settings as settings_module
from flows.lake.home_binding import open_home
from flows.server.automations import webhook_block
from flows.server.up import (
    mlflow_command,
    password_environment,
    server_command,
    service_environment,
)
from flows.settings import NightjarSettings
from flows.storage.home import Home
from flows.storage.permissions import close_home, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_is_made_closed_and_an_open_one_is_closed_and_says_so_once(tmp_path: Path) -> None:
    assert close_home(Home.of(tmp_path / "deep/new")) is None
    assert mode(tmp_path / "deep/new") == 0o700
    old = tmp_path / "old"
    (old / "lake").mkdir(parents=True)
    old.chmod(0o755)
    notices = [close_home(Home.of(old)) for _ in range(2)]
    assert mode(old) == 0o700
    assert notices == [
        f"{old}: others could read it (mode 0755); its mode is 0700 from now on", None,
    ]  # fmt: skip


def test_a_folder_that_becomes_a_home_is_closed(tmp_path: Path, capsys) -> None:
    tmp_path.chmod(0o755)
    settings = NightjarSettings(home=tmp_path)
    open_home(settings).dispose()
    open_home(settings).dispose()
    assert mode(tmp_path) == 0o700
    assert capsys.readouterr().err == (
        f"{tmp_path}: others could read it (mode 0755); its mode is 0700 from now on\n"
    )


def test_a_folder_that_is_no_home_of_ours_stays_open(tmp_path: Path) -> None:
    """Who names a folder of others', or the machine's own scratch, as a home does not close it."""
    others, scratch = tmp_path / "others", tmp_path / "scratch"
    others.mkdir()
    (scratch / "lake").mkdir(parents=True)
    others.chmod(0o755)
    scratch.chmod(0o1777)
    assert close_home(Home.of(others)) is close_home(Home.of(scratch)) is None
    assert (mode(others), mode(scratch)) == (0o755, 0o1777)


def test_a_private_file_is_closed_even_where_an_open_one_was(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text("longer than before")
    path.chmod(0o644)
    write_private(path, "{}")
    assert path.read_text() == "{}"
    assert mode(path) == 0o600


def test_the_address_that_alerts_go_to_is_no_open_word_of_prefects(tmp_path: Path) -> None:
    block = webhook_block("https://hooks.example/tufted")
    request = block._build_request_args("a run failed", "nightly")
    assert request["url"] == "https://hooks.example/tufted"
    assert request["json"] == {"text": "nightly\na run failed"}
    assert "tufted" not in block.model_dump_json()
    assert "tufted" not in repr(block)


def test_servers_are_told_passwords_in_their_environment_never_in_arguments(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv(settings_module.CATALOGUE_VARIABLE, "unused")
    settings = NightjarSettings(
        home=tmp_path,
        postgres_url="postgresql://owner:tufted@127.0.0.1:1",
        operators_password="puffin",  # type: ignore[arg-type]
    )
    arguments = " ".join([*mlflow_command(settings), *server_command(settings)])
    assert "tufted" not in arguments
    assert "puffin" not in arguments
    variables = service_environment(settings)
    assert variables["MLFLOW_BACKEND_STORE_URI"] == settings.mlflow_url
    password_environment(settings, "puffin")
    assert mode(tmp_path / "mlflow_accounts.ini") == 0o600
    assert "tufted" not in repr(settings)
    assert "puffin" not in repr(settings)
