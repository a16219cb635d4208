"""Looks and behaviour of the report's page: colours of both schemes, layout from phone to desk, sorting of tables."""

from __future__ import annotations

from tilewright.report_html.markup import Markup

STYLE = Markup("""
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --card: #fff; --ink: #1b1b1a; --dim: #5f5e5a; --line: #e2e1dc; --axis: #b9b8b2;
  --before: #c9c8c2; --accent: #2a6fcf; --second: #d9541e; --good: #137333; --bad: #b3261e;
  --c0: #2a78d6; --c1: #e0662f; --c2: #189a6c; --c3: #b98200; --c4: #d55f92; --c5: #4f7d00; --c6: #6450c8;
  --rest: #8b8a84;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141413; --card: #1e1e1c; --ink: #ededea; --dim: #aaa9a2; --line: #34342f; --axis: #5c5b55;
    --before: #55544e; --accent: #5b9df0; --second: #f0814f; --good: #6cc98a; --bad: #f28b82;
    --c0: #4a90e2; --c1: #e2733f; --c2: #2bb083; --c3: #cf9a1c; --c4: #dd6f9f; --c5: #86ab33; --c6: #9a8cf0;
    --rest: #85847d;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 74rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 .25rem; font-size: 1.15rem; }
p { margin: 0 0 .75rem; }
ul { margin: .25rem 0 0; padding-left: 1.2rem; }
.dim, small, caption, figcaption { color: var(--dim); }
.kicker { margin: 0 0 .25rem; color: var(--dim); font-size: .85rem; letter-spacing: .02em; }
section {
  margin-top: 1.25rem; padding: 1.25rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px;
}
.good { color: var(--good); } .bad { color: var(--bad); }

.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0 0;
}
.tiles div { padding: .9rem 1.1rem; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tiles dt { color: var(--dim); font-size: .85rem; }
.tiles dd { margin: 0; }
.tiles .big { font-size: 1.25rem; font-weight: 600; line-height: 1.35; font-variant-numeric: tabular-nums; }
.arrow { color: var(--dim); font-weight: 400; }

.legend {
  display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 0 0 .75rem; padding: 0; list-style: none;
  font-size: .85rem; color: var(--dim);
}
.legend svg, .swatch { width: 22px; height: 12px; margin-right: .4rem; vertical-align: -1px; }
svg text { fill: var(--dim); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .strong { fill: var(--ink); font-weight: 600; }
svg .named { font-size: 11px; }
svg .before { fill: var(--before); } svg .after { fill: var(--accent); } svg .gap { fill: var(--card); }
svg .tick { fill: var(--axis); } svg .hollow { fill: none; stroke: var(--ink); stroke-width: 1.5; }
svg .grid {
  stroke: var(--line); } svg .axis { stroke: var(--axis); } svg .drop { stroke: var(--dim);
  stroke-dasharray: 3 4;
}
svg .predicted { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
svg .predicted-dot { fill: var(--accent); }
svg .measured-dot { fill: var(--second); stroke: var(--card); stroke-width: 1.5; }
svg .uniform { fill: var(--card); stroke: var(--ink); stroke-width: 1.5; }
svg .chosen { fill: none; stroke: var(--ink); stroke-width: 2; }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); }
.c4 { fill: var(--c4); } .c5 { fill: var(--c5); } .c6 { fill: var(--c6); } .rest { fill: var(--rest); }
.front svg { display: block; width: 100%; height: auto; }
.front .narrow { display: none; }

.bars {
  display: grid; grid-template-columns: fit-content(21rem) minmax(8rem, 1fr) auto; gap: .4rem 1rem;
  margin: 0; padding: 0; list-style: none;
}
.bars li { display: grid; grid-column: 1 / -1; grid-template-columns: subgrid; align-items: center; }
.bars .name { min-width: 0; max-width: none; overflow-wrap: anywhere; line-height: 1.3; font-size: .9rem; }
.bars .figures {
  display: grid; grid-template-columns: 4.3rem 1.4rem 4.3rem; text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; font-size: .9rem;
}
.bars .arrow { text-align: center; }
.bar { display: block; width: 100%; height: 19px; }
.stack { display: block; width: 100%; height: 12px; margin-bottom: .75rem; }
.bar-axis { display: block; width: 100%; height: 20px; overflow: visible; }
.range { display: block; width: 100%; min-width: 8rem; height: 18px; overflow: visible; }

.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; min-width: 100%; font-variant-numeric: tabular-nums; font-size: .87rem; }
caption { text-align: left; padding-bottom: .5rem; }
th, td {
  padding: .4rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  font-weight: 400;
}
th:first-child, td:first-child { padding-left: 0; }
thead th {
  vertical-align: bottom; color: var(--dim); font-size: .82rem; border-bottom-color: var(--axis);
}
thead .n { white-space: normal; }
tfoot th, tfoot td { border-bottom: 0; border-top: 1px solid var(--axis); font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
.name { min-width: 16rem; max-width: 26rem; overflow-wrap: anywhere; }
.name small { display: block; }
.note { min-width: 12rem; max-width: 24rem; overflow-wrap: anywhere; }
.name .note { min-width: 0; max-width: none; margin-top: .15rem; color: var(--ink); }
code, pre { font: .88em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { margin: 0; overflow-x: auto; }
thead button { all: unset; cursor: pointer; }
thead button:hover { color: var(--ink); }
thead button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
[aria-sort] { color: var(--ink); }
[aria-sort=ascending] button::after { content: " \\2191"; }
[aria-sort=descending] button::after { content: " \\2193"; }
details { margin-top: .75rem; }
summary { cursor: pointer; color: var(--dim); }
details[open] summary { margin-bottom: .5rem; }

.panels {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: 1.1rem 1.25rem; align-items: end;
}
figure { margin: 0; min-width: 0; }
figcaption { font-size: .82rem; line-height: 1.35; overflow-wrap: anywhere; }
figcaption b { display: block; color: var(--ink); font-weight: 600; }
.histogram { display: block; width: 100%; height: 72px; border-bottom: 1px solid var(--axis); }
.limits {
  display: flex; justify-content: space-between; font-size: .78rem; color: var(--dim);
  font-variant-numeric: tabular-nums;
}
footer { margin-top: 1.5rem; font-size: .85rem; color: var(--dim); }

@media (max-width: 46rem) {
  main { padding: 1.25rem .75rem 2rem; }
  section { padding: 1rem; }
  th.name { position: sticky; left: 0; min-width: 8.5rem; max-width: 10rem; background: var(--card); }
  .name .detail { display: none; }
  .front .wide { display: none; }
  .front .narrow { display: block; }
  .bars { grid-template-columns: 1fr auto; gap: .7rem .75rem; }
  .bars li { row-gap: .1rem; align-items: end; }
  .bars .bar, .bars .bar-axis { grid-column: 1 / -1; grid-row: 2; }
  .bars .head span { display: none; }
  .panels { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
}
@media print {
  body { background: none; }
  section, .tiles div { border-color: #ccc; break-inside: avoid-page; }
}
""")

# Written without the less-than sign and the ampersand, which markup would need escaped.
SCRIPT = Markup("""
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const sorted = head.getAttribute("aria-sort");
      const up = sorted ? sorted === "descending" : !numeric || column === 0;
      const key = row => numeric ? parseFloat(row.cells[column].dataset.v) : row.cells[column].textContent;
      const rank = (a, b) => numeric ? a - b || 0 : a.localeCompare(b, undefined, {numeric: true});
      const rows = [...table.tBodies[0].rows].map(row => [key(row), row]);
      const known = rows.filter(([value]) => !Number.isNaN(value));
      const missing = rows.filter(([value]) => Number.isNaN(value));  // last in either direction
      known.sort(([a], [b]) => up ? rank(a, b) : rank(b, a));
      table.tBodies[0].append(...[...known, ...missing].map(([, row]) => row));
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
    });
  });
}
""")
