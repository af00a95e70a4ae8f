"""The date of a release, from the package index that pip is configured with, or else from the files in the wheel.

The index answers in JSON (PEP 691) with the upload time of each file (PEP 700). This module names no index: pip's
settings, or else pip's own default, do.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging import utils
from packaging.version import InvalidVersion, Version

from convbench.errors import BackendError
from convbench.measurement.environments.interpreters import run
from convbench.measurement.environments.releases import has_pip, last_lines, pip, version_of

_ACCEPTED = "application/vnd.pypi.simple.v1+json"
_LIMIT_S = 30.0
# Reproducible builds write 1980, the first year that a zip file can hold, or one near it, instead of a date.
_FIRST_CREDIBLE_YEAR = 1990


@dataclass(frozen=True)
class Index:
    """The URLs of simple indexes, the preferred one first, and a file of certificates to trust, if configured."""

    urls: tuple[str, ...] = ()
    certificates: str | None = None


def upload_dates(library: str, versions: Iterable[str], index: Index | None = None) -> dict[str, str]:
    """The day (YYYY-MM-DD, UTC) on which the first file of each version was uploaded, where an index knows it."""
    index = configured_index() if index is None else index
    dates: dict[str, str] = {}
    wanted = {text: Version(version.public) for text in versions if (version := version_of(text)) is not None}
    for url in index.urls:
        days: dict[Version | None, str] = {}
        for name, day in _files(url, library, index.certificates):
            version = _version_in(name)
            days[version] = min(day, days.get(version, day))
        dates = {text: days[version] for text, version in wanted.items() if version in days} | dates
    return dates


def wheel_date(library: str, version: str, python: str) -> str | None:
    """The newest day (YYYY-MM-DD) of a file in the release's wheel; None if there is no credible one. Raises
    `BackendError` when pip cannot fetch the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder, f"{library}=={version}"]
        done = run([*pip(python), *words])
        if done.returncode != 0:
            raise BackendError(f"the date of {library} {version} is not known, without its wheel: {last_lines(done)}")
        days: list[tuple[int, int, int]] = []
        for wheel in Path(folder).glob("*.whl"):
            with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(wheel) as archive:
                days += [info.date_time[:3] for info in archive.infolist()]
    days = [day for day in days if day[0] >= _FIRST_CREDIBLE_YEAR]
    return "{:04}-{:02}-{:02}".format(*max(days)) if days else None


def configured_index() -> Index:
    """The indexes that pip uses, from its configuration, its environment variables, or its default."""
    settings = dict(_pip_settings())
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return Index()
    first = settings.get("index-url") or _pip_default()
    urls = [url for url in ([first] if first else []) + settings.get("extra-index-url", "").split() if url]
    return Index(tuple(url for url in urls if url.startswith(("http://", "https://"))), settings.get("cert"))


def _pip_settings() -> Iterator[tuple[str, str]]:
    """Names and values of pip's settings, in rising order of precedence."""
    if not has_pip():
        yield from ((n[4:].lower().replace("_", "-"), v) for n, v in os.environ.items() if n.startswith("PIP_"))
        return
    sections: dict[str, dict[str, str]] = {}
    for line in _pip_output("config", "list").splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        with contextlib.suppress(ValueError, SyntaxError):
            sections.setdefault(section, {})[name] = str(ast.literal_eval(value))
    for section in ("global", "install", ":env:"):
        yield from sections.get(section, {}).items()


def _pip_default() -> str | None:
    """The index that pip uses without configuration, from its own help."""
    pattern = r"--index-url\b.*?\(default:?\s+(https?://[^\s)]+)\)"
    match = re.search(pattern, _pip_output("help", "install"), re.DOTALL)
    return match[1] if match else None


def _pip_output(*words: str) -> str:
    command, wide = [sys.executable, "-P", "-m", "pip", *words], os.environ | {"COLUMNS": "500"}
    return subprocess.run(command, capture_output=True, text=True, env=wide, check=False).stdout


def _files(url: str, library: str, certificates: str | None) -> Iterator[tuple[str, str]]:
    """Name and upload day of each file of `library` on an index; nothing if it does not answer in JSON."""
    page: Any
    try:
        context = ssl.create_default_context(cafile=certificates)
        request = _request(f"{url.rstrip('/')}/{utils.canonicalize_name(library)}/")
        with urllib.request.urlopen(request, timeout=_LIMIT_S, context=context) as answer:
            page = json.load(answer)
    except (OSError, ValueError, urllib.error.URLError):
        return
    files = page.get("files") if isinstance(page, Mapping) else None
    for file in files if isinstance(files, list) else []:
        name, time = (file.get("filename"), file.get("upload-time")) if isinstance(file, Mapping) else (None, None)
        if isinstance(name, str) and isinstance(time, str) and re.match(r"\d{4}-\d{2}-\d{2}", time):
            yield name, time[:10]


def _request(url: str) -> urllib.request.Request:
    """A request for `url`; a name and password in it become an Authorization header."""
    parts = urllib.parse.urlsplit(url)
    headers = {"Accept": _ACCEPTED}
    if parts.username is not None:
        secret = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return urllib.request.Request(url, headers=headers)


def _version_in(filename: str) -> Version | None:
    """The version in the name of a wheel or of a source archive; None when it names none."""
    try:
        is_wheel = filename.endswith(".whl")
        return (utils.parse_wheel_filename if is_wheel else utils.parse_sdist_filename)(filename)[1]
    except (utils.InvalidWheelFilename, utils.InvalidSdistFilename, InvalidVersion):
        return None
