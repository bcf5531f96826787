"""Commands and settings that were renamed say how they are called now."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import UsageError
from flows.cli.main import app, run_command
from flows.cli.terminal import RENAMED as COMMANDS
from flows.settings import RENAMED as SETTINGS
from flows.settings import NightjarSettings, read_settings

CLEAN_CRON = "the settings are not valid:\n  clean_cron: is called housekeeping_cron now"


@pytest.mark.parametrize("old", COMMANDS)
def test_a_renamed_command_says_its_new_name(old: str) -> None:
    new = COMMANDS[old]
    assert new in {str(c.name or c.callback.__name__).replace("_", "-") for c in app.registered_commands if c.callback}  # fmt: skip
    assert run_command([old, "--help"]) == (2, f"nightjar {old} is called nightjar {new} now")


def test_a_renamed_setting_says_its_new_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightjar.toml").write_text('clean_cron = "0 1 * * *"\n')
    with pytest.raises(UsageError) as in_file:
        read_settings()
    assert str(in_file.value) == CLEAN_CRON
    (tmp_path / "nightjar.toml").unlink()
    monkeypatch.setenv("NIGHTJAR_CLEAN_CRON", "0 1 * * *")
    with pytest.raises(UsageError) as in_environment:
        read_settings()
    assert str(in_environment.value) == CLEAN_CRON


def test_no_setting_has_an_old_name() -> None:
    assert set(SETTINGS.values()) <= NightjarSettings.model_fields.keys()
    assert not SETTINGS.keys() & NightjarSettings.model_fields.keys()
