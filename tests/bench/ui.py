"""`make bench-ui`: from `nightjar up` and one click to a published release, in a real browser.

A small simulated market; Prefect's own UI in headless Chromium: *Run* of `nightly` for one day, the
`backfill` form with mode plan, its artifact, then mode run with the token. With `--clone` all of it
starts from `git clone` and `make setup`, as on a machine that never saw it; with `--pools` the night's
parts run on their pools. Pictures of each page go to `--pictures`. Prints JSON lines with the
seconds and how they split.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect, sync_playwright

from flows.release.duckdb_views import query
from flows.release.releases import Releases
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.conftest import REPOSITORY
from tests.flows.conftest import ENVIRONMENT
from tests.flows.first_night import DAYS, NIGHT, START

PREFECT, MLFLOW, PAGES = 4410, 5410, 4510


def environment(root: Path, project: Path, pools: bool) -> dict[str, str]:
    return {
        **os.environ,
        **ENVIRONMENT,
        "NIGHTJAR_HOME": str(root / "home"),
        "NIGHTJAR_RAW": str(root / "raw"),
        "NIGHTJAR_PREFECT_PORT": str(PREFECT),
        "NIGHTJAR_MLFLOW_PORT": str(MLFLOW),
        "NIGHTJAR_PAGES_PORT": str(PAGES),
        "NIGHTJAR_POOLS": str(pools).lower(),
        "NIGHTJAR_NIGHTLY_CRON": "0 0 1 1 *",
        "NIGHTJAR_RELEASE_DUE_CRON": "0 0 1 1 *",
        "NIGHTJAR_SOURCE": str(project / "infra/sources/market.toml"),
        "PYTHONPATH": str(project),
    }


def api(path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PREFECT}/api/{path}",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def newest_run(name: str) -> dict[str, Any]:
    """The newest run of a flow that somebody started; schedules wait for their time."""
    runs: list[dict[str, Any]] = api(
        "flow_runs/filter",
        {"sort": "EXPECTED_START_TIME_DESC", "limit": 50, "flows": {"name": {"any_": [name]}}},
    )
    started = [run for run in runs if not run["auto_scheduled"]]
    return started[0] if started else {"state_type": "PENDING"}


def until_done(name: str, before: Collection[str] = (), seconds: float = 900) -> dict[str, Any]:
    """The run of a flow that was started after those `before`, once it has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = newest_run(name)
        if run.get("id") not in before and run["state_type"] in ("COMPLETED", "FAILED", "CRASHED"):
            return run
        time.sleep(0.5)
    raise TimeoutError(f"{name} has not ended in {seconds} seconds")


def custom_run(page: Page, deployment: str) -> None:
    """The deployment's page, *Run*, *Custom run*: the form is open."""
    page.goto(f"http://127.0.0.1:{PREFECT}/deployments")
    page.get_by_role("link", name=deployment, exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.get_by_text("Custom run").first.click()
    expect(page.get_by_role("button", name="Submit")).to_be_visible()


def after_label(page: Page, name: str, what: str) -> Locator:
    """What follows a field's label in the form."""
    label = f"//label[starts-with(normalize-space(.), '{name}')]"
    return page.locator(f"xpath={label}/following::{what}").first


def field(page: Page, name: str, value: str) -> None:
    """Type into a field of text."""
    after_label(page, name, "textarea").fill(value)


def pick_day(page: Page, name: str, day: date) -> None:
    """Type a day into the calendar of a field, and apply it."""
    after_label(page, name, "*[contains(@class, 'p-date-button__control')]").click()
    picker = page.locator(".p-date-picker").last
    picker.locator("input[type=date]").fill(day.isoformat())
    picker.get_by_role("button", name="Apply").click()


def choose(page: Page, name: str, value: str) -> None:
    """Choose an option of a field, with the keyboard."""
    after_label(page, name, "button[contains(@class, 'p-select-button__control')]").focus()
    page.keyboard.press("Space")
    page.locator(".p-select-option").get_by_text(value, exact=True).last.click()


def picture(page: Page, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)


def night(page: Page, root: Path, pictures: Path | None) -> None:
    custom_run(page, "nightly")
    field(page, "as_of", str(NIGHT))
    picture(page, pictures, "nightly-form")
    clicked = time.monotonic()
    page.get_by_role("button", name="Submit").click()
    run = until_done("nightly")
    took = time.monotonic() - clicked
    receipts = Receipts(open_database(f"sqlite:///{root}/home/nightjar.db"))
    stages: dict[str, float] = {}
    for receipt in receipts.all():
        kind = (
            re.sub("_.*", "", receipt.stage)
            if receipt.stage[:5] in ("land_", "clean")
            else receipt.stage
        )
        stages[kind] = stages.get(kind, 0.0) + receipt.seconds
    current = Releases(open_database(f"sqlite:///{root}/home/nightjar.db")).current()
    page.goto(f"http://127.0.0.1:{PREFECT}/runs/flow-run/{run['id']}")
    page.wait_for_timeout(3000)
    picture(page, pictures, "nightly-run")
    say(
        "click on run to published release",
        took,
        state=run["state_name"],
        published=current is not None and str(current.as_of) == str(NIGHT),
        until_started=round(run["estimated_start_time_delta"], 1),
        run_time=round(run["total_run_time"], 1),
        stages={name: round(seconds, 1) for name, seconds in stages.items()},
    )


def backfill(page: Page, pictures: Path | None) -> None:
    first, last = NIGHT - timedelta(days=3), NIGHT - timedelta(days=2)
    token = ""
    before: list[str] = []
    for mode in ("plan", "run"):
        custom_run(page, "backfill")
        pick_day(page, "start", first)
        pick_day(page, "end", last)
        if mode == "run":
            choose(page, "mode", "run")
            field(page, "plan", token)
            field(page, "reason", "the bench of the UI")
        picture(page, pictures, f"backfill-form-{mode}")
        clicked = time.monotonic()
        page.get_by_role("button", name="Submit").click()
        run = until_done("backfill", before)
        before.append(run["id"])
        took = time.monotonic() - clicked
        if mode == "plan":
            wanted = {"artifacts": {"key": {"any_": ["backfill-plan"]}}}
            (artifact,) = api("artifacts/latest/filter", wanted)
            page.goto(f"http://127.0.0.1:{PREFECT}/artifacts/artifact/{artifact['id']}")
            page.wait_for_timeout(3000)
            picture(page, pictures, "backfill-plan")
            token = re.findall(r"```\n(\w+)\n```", artifact["data"])[-1]
        say(f"backfill of two days, mode {mode}", took, state=run["state_name"])


def clone(root: Path) -> Path:
    """A fresh clone of this project with everything installed."""
    project = root / "nightjar"
    for what, command in (
        ("git clone", ["git", "clone", "--quiet", str(REPOSITORY), str(project)]),
        ("make setup", ["make", "-C", str(project), "setup"]),
    ):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        say(what, time.monotonic() - began)
    return project


def say(what: str, seconds: float, **more: object) -> None:
    print(json.dumps({"what": what, "seconds": round(seconds, 1), **more}), flush=True)


def a_user(root: Path) -> str:
    """The user who is likeliest to buy."""
    _, rows = query(
        root / "home/nightjar.duckdb",
        "SELECT user_key FROM user_scores ORDER BY score_purchase_7d DESC NULLS LAST, user_key LIMIT 1",
    )
    return str(rows[0][0])


def pages(page: Page, root: Path, folder: Path | None) -> None:
    """The analysts' pages and the report, as they open them."""
    at = f"http://127.0.0.1:{PAGES}"
    for name, address in (
        ("pages-releases", f"{at}/"),
        ("pages-task", f"{at}/tasks/purchase_7d"),
        ("pages-user", f"{at}/users/{a_user(root)}/reasons"),
        ("report", f"{at}/reports/{NIGHT}.html"),
    ):
        page.goto(address, timeout=120_000)
        picture(page, folder, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the pages")
    parser.add_argument("--users", type=int, default=150)
    parser.add_argument("--pools", action="store_true", help="a worker for each pool")
    parser.add_argument("--clone", action="store_true", help="start from `git clone`")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="nightjar-ui-"))
    simulate(Market(options.users, START, DAYS, 3), root / "raw", lambda done, total: None)
    first = time.monotonic()
    project = clone(root) if options.clone else REPOSITORY
    python = str(project / ".venv/bin/python") if options.clone else sys.executable
    began = time.monotonic()
    with (root / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [python, "-c", "from flows.cli.main import main; main()", "up"],
            env=environment(root, project, options.pools), cwd=project, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        while b"Ctrl-C stops" not in (root / "up.log").read_bytes():
            if up.poll() is not None:
                raise RuntimeError((root / "up.log").read_text())
            time.sleep(0.5)
        say("nightjar up", time.monotonic() - began)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            night(page, root, options.pictures)
            if options.clone:
                say("from git clone to the first published release", time.monotonic() - first)
            backfill(page, options.pictures)
            pages(page, root, options.pictures)
            browser.close()
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
