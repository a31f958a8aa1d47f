"""The documentation site; the README's "## Documentation" has the command.

Every page is Markdown that reads as well in the repository. Two comments, invisible there, become
more on the site: `<!-- pages -->` in index.md its navigation, from the lists of links below it, and
`<!-- api: MODULE -->` the reference of what a module exports, from its docstrings;
`<!-- api: MODULE without NAME -->` leaves one out.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

project = "m890sim"
author = "The m890sim authors"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]

include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**"]
exclude_patterns = [".*", "**/.*", "build", "dist", "runs", "**/__pycache__"]
root_doc = "docs/index"
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # generated tables begin at their own level

html_theme = "furo"
html_title = "m890sim"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style, pygments_dark_style = "friendly", "monokai"
html_theme_options = {"top_of_page_buttons": [], "navigation_with_keys": True}
highlight_language = "none"
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
maximum_signature_line_length = 80

_HEADING = re.compile(r"^## (.+)$")
_LINK = re.compile(r"^- \[([^\]]+)\]\(([^)#]+)\)")
_API = re.compile(r"^<!-- api: (\S+)(?: without (\S+))? -->$", re.MULTILINE)
_LITERAL = re.compile(r"(?<!`)`([^`\n]+)`(?![`_])")


def navigation(page: str, text: str) -> str:
    """The hidden tables of contents that the lists of links of a page stand for."""
    groups: dict[str, list[str]] = {}
    heading = ""
    for line in text.splitlines():
        if found := _HEADING.match(line):
            heading = found[1]
        elif heading and (found := _LINK.match(line)):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(page), found[2]))
            groups.setdefault(heading, []).append(f"{found[1]} </{target.removesuffix('.md')}>")
    return "\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *links, "```", ""])
        for caption, links in groups.items()
    )


def reference(found: re.Match[str]) -> str:
    """The directive for what a module exports, but for one name."""
    but = f"   :exclude-members: {found[2]}\n" if found[2] else ""
    return f"```{{eval-rst}}\n.. automodule:: {found[1]}\n{but}```"


def read_source(app: Sphinx, page: str, source: list[str]) -> None:
    """Put in what the comments of a page stand for."""
    text = source[0].replace("<!-- pages -->", navigation(page, source[0]))
    source[0] = _API.sub(reference, text)


def read_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings mark code by single backticks, as Markdown does; errors get a paragraph."""
    marked: list[str] = []
    for line in lines:
        if line.startswith("Raises:") and marked and marked[-1]:
            marked.append("")
        marked.append(_LITERAL.sub(r"``\1``", line))
    lines[:] = marked


def finish(app: Sphinx, error: Exception | None) -> None:
    """The front page stands beside the folder `docs/` as well."""
    if error is None and app.builder.name == "html":
        page = '<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html">\n'
        (Path(app.outdir) / "index.html").write_text(page, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
