"""What all HTML pages have in common: their head, their colours, and that they need no other file."""

from __future__ import annotations

from html import escape
from typing import Final

_CSS: Final = """\
:root {
  color-scheme: light; --ink: #1d1d1b; --soft: #63635e; --line: #e2e2dc; --paper: #ffffff;
  --back: #f6f5f1;
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", sans-serif;
}
main { margin: 0 auto; padding: 32px 20px 64px; }
h1 { line-height: 1.2; margin: 0 0 4px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
footer { color: var(--soft); font-size: 13px; }
@media print { body { background: none; } section { break-inside: avoid; } }
"""


def make_page(title: str, content: str, *, css: str, script: str = "") -> str:
    """Return a page.

    Parameters
    ----------
    title : str
        As text: it is made harmless here.
    content : str
        What stands in ``main``, as HTML.
    css : str
        Rules of this kind of page, after the common ones.
    script : str
        Runs at the end of the page.
    """
    end = f"<script>\n{script}</script>\n" if script else ""
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{_CSS}{css}</style>
</head>
<body>
<main>
{content}
</main>
{end}</body>
</html>
"""
