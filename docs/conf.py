"""The documentation site: `python -m sphinx -W --keep-going -n docs build/site` makes it of the pages in this folder.

The pages stay plain Markdown, to be read where the repository is shown. `extensions/` says what the site makes of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from navigation import INDEX, sections

import convbench

project = "convbench"
author = "the convbench authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's word
version = release = convbench.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton", "navigation", "docstrings", "equations"]
exclude_patterns = ["README.md"]  # the list that the navigation is made of
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nitpicky = True
nitpick_ignore_regex = [  # names of other projects, whose inventories are on the network, which no build may need
    ("py:class", r"(abc|collections|numpy|np|os|pathlib|alt|pandas|pd|rich|torch|typing)\..*|Path"),
    ("py:class", "Arrays|Axis|NDArray|Part|Place|Source"),  # aliases of such types, which signatures name
]
highlight_language = "none"
smartquotes = False  # docstrings quote code

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # a test executes the notebooks; the site shows what they keep
# A figure is Vega-Lite and an image, of which the site shows the image; headings of a report are as its form has them.
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # a page loads nothing from elsewhere

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "convbench"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_sidebars = {"index": []} | {name: [] for name, pages in sections(INDEX.read_text("utf-8")).items() if not pages}
html_math_renderer = "mathml"
html_theme_options = {
    "navbar_align": "left",
    "navigation_depth": 2,
    "show_toc_level": 2,
    "footer_end": [],
    "search_bar_text": "Search",
}

copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = "$ "
