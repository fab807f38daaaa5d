"""How Sphinx builds the site: ``nox -s docs``, or ``sphinx-build docs docs/_build/html``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nbclient import NotebookClient

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_extensions"), str(DOCS.parent)]
# The pages are run in kernels of their own, which find the package as this process does.
os.environ["PYTHONPATH"] = os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")])

from nnbackend import __version__  # noqa: E402

project = "nnbackend"
author = "The nnbackend developers"
project_copyright = author
release = version = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "api_reference",
    "gallery",
    "mathml",
    "outside_names",
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
# MyST-NB breaks a line that a busy kernel sent in two; its client, a subclass of this one, joins them.
NotebookClient.coalesce_streams.default_value = True

# Docstrings.
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"nnbackend\..*\.(Class|Self)"),  # type variables
    ("py:class", r".*\[.*"),  # a type in brackets that was cut at its comma
    ("py:class", "Key|Primitives|HostCommunicator|np.ndarray|.*_Times"),
    # What only annotations name: the parts of a table's model, of a step, of what is read ahead.
    ("py:class", r"nnbackend\.tables\.(\w+)\.\w+"),
    ("py:class", r"nnbackend\.(backends\.base|optimizers\.prepared|core\.row_gradient)\.\w+"),
    ("py:class", r"nnbackend\.data\.(prefetch|reading_share|samples|targets)\.\w+"),
    ("py:class", r"nnbackend\.(layers\.structure\.wiring\.Node|metrics\.per_output\.OneOutput)"),
    ("py:exc", "NotFittedError"),  # scikit-learn's
]
napoleon_google_docstring = True
napoleon_use_ivar = True  # attributes as a list; those with a docstring have an entry of their own
napoleon_numpy_docstring = False

# Appearance.
html_theme = "pydata_sphinx_theme"
html_title = "nnbackend"
html_favicon = "_static/logo.svg"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
        "text": "nnbackend",
    },
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}

# Pages whose blocks of Python run in the browser; nox -s wasm runs the guides among them.
runnable_pages = [
    "augmentation",
    "book/*",
    "drawing",
    "layers",
    "losses-and-metrics",
    "microscope",
    "regularization",
]
