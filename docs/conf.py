"""How Sphinx makes the documentation site from docs/ (CONTRIBUTING.md says how to build it).

The pages are plain Markdown that reads well in a repository too. Those that lie elsewhere in the repository
enter the site through stubs; links to files outside docs/ become downloads.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import semivae  # noqa: E402
from docs.shortened import shorten  # noqa: E402

project = "semivae"
author = "the semivae developers"
project_copyright = "the semivae developers, Apache-2.0"
version = release = semivae.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
highlight_language = "text"  # blocks of commands show output too
default_role = "py:obj"  # docstrings write names in single backquotes

myst_enable_extensions: list[str] = []
myst_heading_anchors = 4  # named as a repository's pages name them

# SEMIVAE_DOCS_NOTEBOOKS: "quick" (default) executes the first notebook with few steps, which checks the machinery;
# "all" executes all of them in full, as for publishing; "none" executes nothing.
NOTEBOOKS = os.environ.get("SEMIVAE_DOCS_NOTEBOOKS", "quick")
QUICK_STEPS = 60
nb_execution_mode = "off" if NOTEBOOKS == "none" else "auto"
nb_execution_excludepatterns = [] if NOTEBOOKS == "all" else ["notebooks/photographs.md", "notebooks/table.md"]
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 1800

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # a dataclass's attributes are listed once

html_theme = "furo"
html_title = "semivae"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1a5fb4", "color-brand-content": "#1a5fb4"},
    "dark_css_variables": {"color-brand-primary": "#78aeed", "color-brand-content": "#78aeed"},
}

# Pages of the repository that the site shows in place of the stubs of these names.
ELSEWHERE = {
    "contributing": ROOT / "CONTRIBUTING.md",
    "changelog": ROOT / "CHANGELOG.md",
    "data-sets": ROOT / "data" / "README.md",
    "measured/accuracy": ROOT / "benchmarks" / "accuracy" / "accuracy.md",
    "measured/segmentation": ROOT / "benchmarks" / "segmentation" / "segmentation.md",
    "measured/segmentation_128": ROOT / "benchmarks" / "segmentation" / "segmentation_128.md",
    "measured/hierarchies": ROOT / "benchmarks" / "hierarchies" / "hierarchies.md",
    "measured/speed": ROOT / "benchmarks" / "speed" / "speed.md",
}
# The landing page says what the README says.
PAGE_OF = {path: name for name, path in ELSEWHERE.items()} | {ROOT / "README.md": "index"}


def site_link(text: str, target: str, page: Path, shown_in: Path) -> str:
    """A link of the page `page` of the repository, as it reads in the folder `shown_in` of the site."""
    place, _, anchor = target.partition("#")
    file = (page.parent / place).resolve()
    if file in PAGE_OF:
        file = HERE / f"{PAGE_OF[file]}.md"
    path = os.path.relpath(file, shown_in)
    if not file.is_relative_to(HERE):
        return f"{{download}}`{text} <{path}>`"
    return f"[{text}]({path}{'#' + anchor if anchor else ''})"


def rewrite_links(text: str, page: Path, shown_in: Path) -> str:
    """Makes links to pages and files outside docs/ lead somewhere on the site."""

    def rewritten(link: re.Match[str]) -> str:
        if link[2].startswith(("http:", "https:", "#", "mailto:")):
            return link[0]
        return site_link(link[1], link[2], page, shown_in)

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", rewritten, text)


def prepare(app: Sphinx, name: str, source: list[str]) -> None:
    """Puts a page of the repository in place of its stub, mends links, and shortens what a quick build executes."""
    page = ELSEWHERE.get(name, HERE / f"{name}.md")
    if name in ELSEWHERE:
        app.env.note_dependency(str(page))
        source[0] = page.read_text(encoding="utf-8")
    source[0] = rewrite_links(source[0], page, (HERE / name).parent)
    if NOTEBOOKS == "quick" and name.startswith("notebooks/"):
        source[0] = shorten(source[0], QUICK_STEPS)


def as_restructured_text(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Marks formulas of a docstring, which are indented after a colon, as such; a star elsewhere is only a star."""
    formula = False
    for number, line in enumerate(lines):
        follows = number > 1 and not lines[number - 1] and lines[number - 2].endswith(":")
        if line and not line.startswith("    "):
            formula = False
        elif line and follows and not lines[number - 2].startswith("    "):
            formula = True
            lines[number - 2] += ":"
        if not formula:
            lines[number] = line.replace("*", r"\*")


def setup(app: Sphinx) -> None:
    """Connects what this file adds to Sphinx."""
    app.connect("source-read", prepare)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=400)  # before napoleon's turn
