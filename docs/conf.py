"""How Sphinx builds the site: ``nox -s docs``, or ``sphinx-build docs docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_extensions"), str(DOCS.parent)]

from nnbackend import __version__  # noqa: E402

project = "nnbackend"
author = "The nnbackend developers"
project_copyright = author
release = version = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
    "repository_links",
    "runnable",
]
exclude_patterns = ["_build", "_extensions", "**/.ipynb_checkpoints"]

# Pages. Those with front matter of a notebook are executed, each time they are read; the output of a
# cell that fails would be a page, and is an error instead.
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 4  # as on GitHub, so that links to headings work in both places
nb_execution_mode = "inline"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_eval_name_regex = ".+"  # any expression in the text, not names alone
nb_ipywidgets_js: dict = {}  # would be fetched from elsewhere
nb_merge_streams = True

# Docstrings.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# Appearance.
html_theme = "pydata_sphinx_theme"
html_title = "nnbackend"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"show_toc_level": 2, "show_prev_next": True}

# Pages whose blocks run in the browser; tests/webassembly runs them as visitors would.
runnable_pages = ["book/*"]
