"""The kinds of files that a suite is made of, with their largest sizes."""

from __future__ import annotations

from convbench.errors import SuiteError
from convbench.files.user_file import FileKind

_MIB = 2**20
SUITE = FileKind("a suite's file", 16 * _MIB, "give the path of a suite's TOML file", SuiteError)
TABLE = FileKind("a suite's table", 64 * _MIB, "give the name of a CSV file beside the suite's", SuiteError)
IMAGE = FileKind("an image", 64 * _MIB, "give the name of an image beside the suite's file", SuiteError)
