"""Read-only pages about the current release, for analysts: releases, quality, scores, one user."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import SecretStr
from starlette.middleware.trustedhost import TrustedHostMiddleware

from contracts.errors import NightjarError, UsageError
from contracts.tables import RELEASED_TABLES
from contracts.tasks import TASKS, task_named
from contracts.user_keys import DIGITS, is_user_key
from flows.release.list_outcomes import newest_outcomes
from flows.release.recommended import TOP, audience, user_lists, widths
from flows.report import charts
from flows.report.rendering import number
from flows.server.pages.queries import Pages
from flows.settings import NightjarSettings

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
USER = "analyst"
MAX_PLACES = 100
"""Places of a list that a page shows at most."""


def make_app(settings: NightjarSettings) -> FastAPI:
    """The pages of a home. They read the release's file of views, and receipts; nothing else."""
    password = settings.pages_password
    guard = [Depends(_guard(password))] if password is not None else []
    app = FastAPI(
        title="Nightjar", docs_url=None, redoc_url=None, openapi_url=None, dependencies=guard
    )
    # A page of somebody else's that resolves its name to this machine does not get in.
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "testserver"]
    )
    app.middleware("http")(_add_headers)
    pages = Pages(settings)
    page = _renderer(pages)

    @app.exception_handler(NightjarError)
    async def error_page(request: Request, error: NightjarError) -> HTMLResponse:
        return page("message", 404, title="Not there", text=str(error))

    _add_release_pages(app, pages, page)
    _add_user_pages(app, pages, page)
    _add_recommendation_pages(app, settings.home_folder.analysts_file, page)
    storage = settings.home_folder.storage
    reports = storage.local_path(storage.make_folder(settings.home_folder.reports))
    app.mount("/reports", StaticFiles(directory=reports), name="reports")
    return app


Page = Callable[..., HTMLResponse]
"""A template's name, the status, and what it shows, as a response."""


def _renderer(pages: Pages) -> Page:
    """What makes a page of a template."""
    templates = Environment(
        loader=PackageLoader("flows.server.pages", ""),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = number

    def page(name: str, status: int = 200, **values: Any) -> HTMLResponse:
        text = templates.get_template(f"{name}.html.j2").render(
            current=pages.current(), tasks=[t.name for t in TASKS], **values
        )
        return HTMLResponse(text, status)

    return page


async def _add_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """What browsers may do with a page: next to nothing."""
    response = await call_next(request)
    is_report = request.url.path.startswith("/reports/")
    response.headers["Content-Security-Policy"] = _REPORT_POLICY if is_report else _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _add_release_pages(app: FastAPI, pages: Pages, page: Page) -> None:
    """Releases, tasks and tables."""

    @app.get("/")
    def releases() -> HTMLResponse:
        return page("releases", rows=pages.releases(), quality=pages.quality())

    @app.get("/tasks/{name}")
    def task(name: str) -> HTMLResponse:
        try:
            shown = task_named(name)
        except NightjarError as error:
            raise UsageError(str(error)) from None
        history, scored = pages.trained(name), pages.scoreboard(name)
        bins = pages.distribution(shown)
        return page(
            "task",
            task=shown,
            history=history,
            scored=scored,
            bins=bins,
            curve=charts.quality(shown, history, scored),
            histogram=charts.histogram(shown, bins),
        )

    @app.get("/tables")
    def tables() -> HTMLResponse:
        return page("tables", tables=RELEASED_TABLES)


def _add_user_pages(app: FastAPI, pages: Pages, page: Page) -> None:
    """One user: scores, features and, when asked for, reasons."""

    @app.get("/users")
    def users() -> HTMLResponse:
        return page("users", some=pages.some_users(), digits=DIGITS)

    @app.post("/users")
    def look_up(user_key: Annotated[str, Form()]) -> RedirectResponse:
        return RedirectResponse(f"/users/{pages.checked_key(user_key)}", 303)

    @app.get("/users/{user_key}")
    def user(user_key: str) -> HTMLResponse:
        key = pages.checked_key(user_key)
        return page("user", key=key, answers=pages.answers(key), features=pages.features(key),
                    reasons=None)  # fmt: skip

    @app.get("/users/{user_key}/reasons")
    def reasons(user_key: str) -> HTMLResponse:
        key = pages.checked_key(user_key)
        return page("user", key=key, answers=pages.answers(key), features=pages.features(key),
                    reasons=pages.reasons(key))  # fmt: skip


def _add_recommendation_pages(app: FastAPI, database: Path, page: Page) -> None:
    """How wide each surface's lists are, what one user is shown, and whom one item is shown to."""

    @app.get("/recommendations")
    def surfaces() -> HTMLResponse:
        outcomes = newest_outcomes(database)
        return page("recommendations", widths=widths(database), outcomes=outcomes, top=TOP)

    @app.get("/recommendations/users/{user_key}")
    def shown_to_user(user_key: str, places: int = TOP) -> HTMLResponse:
        if not is_user_key(user_key):
            raise UsageError("That is no user_key.")
        lists = user_lists(database, user_key, n=max(1, min(places, MAX_PLACES)))
        if not lists:
            raise UsageError("The current release recommends nothing to that user.")
        return page("lists", key=user_key, lists=lists, places=places, most=MAX_PLACES)

    @app.get("/recommendations/{surface}/items")
    def shown_item(surface: str, item_id: str) -> HTMLResponse:
        return page("item", audience=audience(database, surface, item_id.strip()), top=TOP)


def _guard(password: SecretStr) -> Callable[..., None]:
    """HTTP basic authentication of the analyst."""
    basic = HTTPBasic(realm="Nightjar")
    expected = password.get_secret_value().encode()

    def check(given: HTTPBasicCredentials = Depends(basic)) -> None:  # noqa: B008
        right = secrets.compare_digest(given.password.encode(), expected)
        if not (secrets.compare_digest(given.username.encode(), USER.encode()) and right):
            raise HTTPException(401, "wrong name or password", {"WWW-Authenticate": "Basic"})

    return check
