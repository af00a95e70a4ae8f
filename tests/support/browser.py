"""A headless browser, and a server that hands out asv's pages with the libraries that they else take from the network.

Debian's packages have the browser, its driver and the libraries; `PACKAGES` is the line to type.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PACKAGES = (
    "apt-get install -y chromium chromium-driver libjs-jquery libjs-jquery-flot libjs-bootstrap "
    "libjs-jquery-stupidtable node-blueimp-md5"
)
_SHARED = Path("/usr/share/javascript")
# What stands in the addresses that asv's page loads its libraries from. It does without orderBars: no bars, no need.
_LIBRARIES = {
    "jquery-3": "jquery/jquery.min.js",
    "jquery.flot.min.js": "jquery-flot/jquery.flot.min.js",
    "jquery.flot.time": "jquery-flot/jquery.flot.time.min.js",
    "jquery.flot.selection": "jquery-flot/jquery.flot.selection.min.js",
    "jquery.flot.categories": "jquery-flot/jquery.flot.categories.min.js",
    "stupidtable": "jquery-stupidtable/stupidtable.min.js",
    "md5": "blueimp-md5/md5.min.js",
    "bootstrap.min.js": "bootstrap/js/bootstrap.min.js",
    "bootstrap.min.css": "bootstrap/css/bootstrap.min.css",
}


def browser_program() -> str | None:
    """The browser, as CHROME says or under one of its usual names."""
    names = (os.environ.get("CHROME"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def what_is_missing() -> str | None:
    """Why no page can be opened here; None when it can."""
    libraries = all((_SHARED / path).is_file() for path in _LIBRARIES.values())
    if browser_program() and shutil.which("chromedriver") and libraries:
        return None
    return f"needs a browser, its driver and the libraries of asv's page: {PACKAGES}"


@contextmanager
def opened() -> Iterator[Any]:
    """A browser that is steered through its driver."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser_program() or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1500,1000",
    ):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def served(pages: Path) -> Iterator[str]:
    """The address at which the pages in a folder are served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Pages, directory=str(pages)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Pages(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/library/"):
            shared = _SHARED / path.removeprefix("/library/")
            kind = "text/css" if path.endswith(".css") else "text/javascript"
            self._answer(kind, shared.read_bytes() if shared.is_file() else b"")
        elif path == "/index.html":
            page = (Path(self.directory) / "index.html").read_text(encoding="utf-8")
            self._answer("text/html; charset=utf-8", _ELSEWHERE.sub(_here, page).encode())
        else:
            super().do_GET()

    def _answer(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


_ELSEWHERE = re.compile(r'(src|href)="(https://(?:code|cdnjs|cdn)\.[^"]+)"(?: integrity="[^"]+")?')


def _here(address: re.Match[str]) -> str:
    known = (path for part, path in _LIBRARIES.items() if part in address[2])
    return f'{address[1]}="/library/{next(known, "none.js")}"'
