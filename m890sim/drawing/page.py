"""Pages: one HTML file each, which needs no network; what all share stands in pages/ once."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from typing import Any

_SHELL = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
<script id="data" type="application/json">{data}</script>
<script>
"use strict";
{code}</script>
</body>
</html>
"""
PAGES = ("profile", "compare", "run")


def page(name: str, title: str, data: dict[str, Any]) -> str:
    """A page of PAGES that shows some data.

    Whatever texts the data hold, they end no element: the page sets them as texts, never as HTML.
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return _SHELL.format(
        title=escape(title),
        style=_part("base.css"),
        body=_part(f"{name}.html"),
        data=text.replace("<", "\\u003c"),
        code=_part("base.js") + _part("timeline.js") + _part(f"{name}.js"),
    )


def _part(name: str) -> str:
    return files("m890sim.drawing").joinpath("pages", name).read_text("utf-8")
