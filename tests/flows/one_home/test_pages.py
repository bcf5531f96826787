"""The analysts' pages over a release of the shared night."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from markupsafe import escape
from playwright.sync_api import Page, sync_playwright

from contracts.tables import RELEASED_TABLES
from contracts.tasks import TASKS, task_named
from flows.release.duckdb_views import query
from flows.server.pages.app import make_app
from flows.server.pages.queries import Pages
from flows.settings import read_settings


@contextmanager
def served() -> Iterator[httpx.Client]:
    """The pages of the home in the environment, on a port of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(make_app(read_settings()), "127.0.0.1", port, log_level="error", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        yield client
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def client(home: Path, first) -> Iterator[httpx.Client]:
    with served() as http:
        yield http


@pytest.fixture
def page(client: httpx.Client) -> Iterator[Page]:
    """A page in a headless browser; the machine's own Chromium."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        browser_page = browser.new_page(base_url=str(client.base_url))
        yield browser_page
        browser.close()


def test_the_first_page_shows_releases_and_how_well_tasks_predict(client, home, first) -> None:
    page = client.get("/")
    assert page.status_code == 200
    current = query(home / "nightjar.duckdb", "SELECT release_id FROM release")[1][0][0]
    assert current in page.text
    assert "<strong>current</strong>" in page.text
    assert first["task_rows"]
    for name in first["task_rows"]:
        assert f'href="/tasks/{name[0]}"' in page.text
    report = re.search(r'href="(/reports/[^"]+)"', page.text)
    assert report is not None
    assert client.get(report.group(1)).status_code == 200


def test_every_task_and_table_has_its_page(client) -> None:
    for task in TASKS:
        page = client.get(f"/tasks/{task.name}")
        assert page.status_code == 200, task.name
        for column in task.score_columns():
            assert column.name in page.text
    tables = client.get("/tables").text
    assert all(f"<code>{table.name}</code>" in tables for table in RELEASED_TABLES)


def test_a_user_is_found_by_key_and_reasons_come_on_request(client, home) -> None:
    key, score = query(
        home / "nightjar.duckdb",
        "SELECT user_key, score_churn_28d FROM newest_scores "
        "WHERE score_churn_28d IS NOT NULL ORDER BY 1 LIMIT 1",
    )[1][0]
    response = client.post("/users", data={"user_key": f" {key.upper()} "}, follow_redirects=False)
    assert response.headers["location"] == f"/users/{key}"
    page = client.get(f"/users/{key}").text
    assert f"{score:.4g}" in page
    assert "What moved it most" not in page
    reasons = client.get(f"/users/{key}/reasons").text
    assert "What moved it most" in reasons
    assert reasons.count("<ul>") > 5


def test_a_score_is_shown_with_what_it_is(client, home) -> None:
    key = query(home / "nightjar.duckdb", "SELECT min(user_key) FROM newest_scores")[1][0][0]
    answers = Pages(read_settings()).answers(key)
    assert answers
    page = client.get(f"/users/{key}").text
    for answer in answers:
        assert str(escape(answer.meaning)) in page
    meanings = {answer.task.name: answer.meaning for answer in answers}
    assert meanings["view_7d"] == task_named("view_7d").score_columns()[0].doc


def test_a_task_without_scores_is_not_said_to_have_several(client, home, monkeypatch) -> None:
    monkeypatch.setattr(Pages, "distribution", lambda self, task: [])
    sentence = (
        "Nobody has a score of this task in the current release; the night's report says why."
    )
    assert sentence in client.get("/tasks/churn_28d").text
    assert "There is no single score to draw." in client.get("/tasks/interests_30d").text


def test_on_a_phone_captions_and_values_lie_within_the_screen(page: Page, home) -> None:
    key = query(home / "nightjar.duckdb", "SELECT min(user_key) FROM newest_scores")[1][0][0]
    page.set_viewport_size({"width": 390, "height": 800})
    for path, cells in (("/", "caption"), (f"/users/{key}", "caption, th[scope=row], td")):
        page.goto(path)
        right = page.evaluate(
            "cells => Math.max(...[...document.querySelectorAll(cells)]"
            ".map(cell => cell.getBoundingClientRect().right))",
            cells,
        )
        assert 0 < right <= 390, path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/users/nobody", "A user_key is 32 digits and letters a to f"),
        (f"/users/{'0' * 32}", "The current release has no such user."),
    ],
)
def test_what_is_not_there_is_said_in_words(client, path: str, text: str) -> None:
    page = client.get(path)
    assert page.status_code == 404
    assert text in page.text


def test_nothing_but_these_pages_is_served(client, home) -> None:
    for path in (
        "/tasks/nothing",
        "/reports/../nightjar.db",
        "/reports/%2e%2e/nightjar.db",
        "/docs",
    ):
        assert client.get(path).status_code == 404, path
    stranger = client.get("/", headers={"host": "evil.example"})
    assert stranger.status_code == 400
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]
    assert client.put("/users", data={}).status_code == 405


def test_a_password_is_asked_for_where_one_is_set(home: Path, first, monkeypatch) -> None:
    monkeypatch.setenv("NIGHTJAR_PAGES_PASSWORD", "right")
    with served() as client:
        assert client.get("/").status_code == 401
        assert client.get("/", auth=("analyst", "wrong")).status_code == 401
        assert client.get("/", auth=("analyst", "right")).status_code == 200


def test_a_browser_goes_through_the_pages_by_keyboard_alone(page: Page, client, home) -> None:
    """From the first page to the reasons of one user's scores, without a mouse."""
    key = query(
        home / "nightjar.duckdb",
        "SELECT user_key FROM newest_scores WHERE score_churn_28d IS NOT NULL ORDER BY 1 LIMIT 1",
    )[1][0][0]
    problems: list[str] = []
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Users"
    page.keyboard.press("Enter")
    page.wait_for_url("**/users")
    page.get_by_label("user_key (32 digits and letters a to f)").focus()
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/users/{key}")
    link = page.get_by_role("link", name="Show what moved each score most")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/reasons", timeout=120_000)
    assert page.get_by_role("columnheader", name="What moved it most").is_visible()
    page.get_by_role("link", name="churn_28d").first.click()
    page.wait_for_url("**/tasks/churn_28d")
    assert page.get_by_role("img", name=re.compile("Users by score of churn_28d")).is_visible()
    assert not problems


@pytest.mark.parametrize("path", ["/", "/tasks/purchase_7d", "/users", "/tables"])
def test_a_screen_reader_finds_its_way(page: Page, path: str) -> None:
    page.goto(path)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == page.locator("nav[aria-label]").count() == 1
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("input:not([id])").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    broken = page.evaluate("[...document.images].filter(i => !i.naturalWidth).length")
    assert broken == 0
    wide = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    assert not wide
