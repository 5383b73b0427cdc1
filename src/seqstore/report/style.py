"""How the page looks, and how its tables are sorted: no file but the page is needed."""

from __future__ import annotations

from typing import Final

CSS: Final = """\
main { max-width: 1120px; }
h1 { font-size: 28px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 0 0 4px; }
section svg + div, section div + div { margin-top: 16px; }
p { margin: 0 0 12px; max-width: 100ch; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px;
  margin: 20px 0;
}
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: 14px 16px; }
.tile b {
  display: block; font-size: 26px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums;
}
.tile span { display: block; color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
section { padding: 18px 20px; margin: 0 0 16px; }
section > p { color: var(--soft); font-size: 14px; max-width: 110ch; }
section svg { display: block; width: 100%; height: auto; }
nav { margin: 0 0 16px; font-size: 14px; }
nav { display: flex; flex-wrap: wrap; gap: 2px 16px; }
nav a { color: #0060a0; text-decoration: none; }
nav a:hover { text-decoration: underline; }
th, td { padding: 6px 8px; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { vertical-align: bottom; font-weight: 600; line-height: 1.25; }
th small { display: block; color: var(--soft); font-weight: 400; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
td:first-child { white-space: nowrap; }
tbody tr:hover { background: #faf9f5; }
.best { font-weight: 700; }
.swatch { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 8px; }
[data-sort] th { cursor: pointer; }
th[aria-sort=ascending]::after { content: " \\2191"; }
th[aria-sort=descending]::after { content: " \\2193"; }
details { margin-top: 12px; font-size: 14px; }
summary { cursor: pointer; color: #0060a0; }
pre {
  background: var(--back); border-radius: 6px; padding: 12px; overflow-x: auto; font-size: 12.5px;
  margin: 8px 0 0;
}
footer { margin-top: 24px; }
@media print { .tile { break-inside: avoid; } nav { display: none; } }
"""

SCRIPT: Final = """\
for (const table of document.querySelectorAll("table[data-sort]")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const compare = (a, b) => isNaN(a) || isNaN(b) ? String(a).localeCompare(String(b)) : a - b;
    const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * compare(value(a), value(b)));
    body.append(...rows);
  }));
}
"""
