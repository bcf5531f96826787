"""`python -m flows.server.pages` serves the pages of this home on 127.0.0.1."""

from __future__ import annotations

import uvicorn

from flows.lifecycle.progress import say_on_stderr
from flows.server.pages.app import make_app
from flows.settings import configure_libraries, read_settings
from flows.storage.permissions import close_home

HOST = "127.0.0.1"


def main() -> None:
    settings = read_settings()
    say_on_stderr(close_home(settings.home_folder))
    configure_libraries(settings.home_folder)
    uvicorn.run(make_app(settings), host=HOST, port=settings.pages_port, access_log=False)


if __name__ == "__main__":
    main()
