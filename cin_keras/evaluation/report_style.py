"""How the page looks: on a screen light or dark, on a telephone, on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --panel: #ffffff; --text: #1a1c20; --soft: #545a64; --line: #d5d8dd;
  --accent: #0b5cad; --bar: #a9c8e8;
  --blue: #0072b2; --green: #00795a; --pink: #a8558a; --orange: #c04f00;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #121418; --panel: #1b1e24; --text: #e8eaed; --soft: #a8b0bb; --line: #3a4049;
    --accent: #86bdf7; --bar: #2f5f92;
    --blue: #56b4e9; --green: #3ecf9f; --pink: #e39cc7; --orange: #f58d4c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  overflow-wrap: anywhere;
}
header, main, footer { max-width: 64rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.25rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 0.75rem; }
h3 { font-size: 1rem; line-height: 1.35; margin: 0 0 0.5rem; }
p { margin: 0 0 0.75rem; max-width: 46rem; }
.soft, figcaption, footer { color: var(--soft); }
section {
  background: var(--panel); border: 1px solid var(--line); border-radius: 0.6rem;
  padding: 1.25rem; margin: 1.25rem 0;
}
.figures { display: grid; grid-template-columns: 2fr 1fr 1fr; gap: 1.25rem; }
.figures strong { display: block; font-size: 2.2rem; line-height: 1.15; color: var(--accent); }
.figures p { margin: 0; }
.bar { position: relative; height: 0.6rem; border-radius: 0.3rem; background: var(--line); }
.bar i { position: absolute; top: 0; bottom: 0; border-radius: 0.3rem; background: var(--bar); }
.bar b { position: absolute; top: -0.15rem; bottom: -0.15rem; width: 0.2rem;
  margin-left: -0.1rem; background: var(--accent); }
.figures .bar { margin: 0.5rem 0; max-width: 26rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; overflow-wrap: break-word; margin-bottom: 0.75rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.25rem; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 1.5rem 0.35rem 0; }
th { font-weight: 600; }
tbody th { font-weight: 400; }
tr + tr > *, tbody tr > * { border-top: 1px solid var(--line); }
thead th { color: var(--soft); font-size: 0.9rem; }
th.name, td.name { min-width: 9rem; }
tr > :last-child { padding-right: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
.settings { columns: 2 18rem; column-gap: 2rem; margin: 0 0 1rem; }
.settings div { display: flex; gap: 1rem; justify-content: space-between; break-inside: avoid;
  border-top: 1px solid var(--line); padding: 0.25rem 0; }
.settings dt { color: var(--soft); flex: none; max-width: 50%; }
.settings dd { margin: 0; text-align: right; }
pre { white-space: pre-wrap; background: var(--page); border: 1px solid var(--line);
  border-radius: 0.4rem; padding: 0.75rem; margin: 0 0 1rem; font-size: 0.9rem; }
.curves { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.curves svg { width: 100%; height: auto; fill: var(--text); }
.pairs { display: grid; grid-template-columns: 1fr 1fr; gap: 1.25rem; }
article { border: 1px solid var(--line); border-radius: 0.5rem; padding: 0.9rem; min-width: 0;
  break-inside: avoid; }
article h3, .photographs { display: grid; grid-template-columns: 1fr 1fr; gap: 0.9rem; }
article small { display: block; color: var(--soft); font-weight: 400; font-size: 0.85rem; }
article p { font-size: 0.92rem; }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 0.3rem;
  margin-bottom: 0.4rem; background: var(--line); }
figcaption { font-size: 0.88rem; line-height: 1.4; }
.missing { padding: 2rem 0.75rem; border: 1px dashed var(--line); border-radius: 0.3rem; }
.scale { display: grid; grid-template-columns: 1fr 1fr; gap: 0 0.9rem; font-size: 0.88rem;
  margin-top: 0.6rem; }
.scale i { grid-column: 1 / -1; height: 0.6rem; border-radius: 0.3rem;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.scale span:last-child { text-align: right; }
footer { padding-bottom: 2rem; font-size: 0.9rem; }
@media (max-width: 46rem) {
  .figures, .curves, .pairs { grid-template-columns: 1fr; }
  section { padding: 1rem; }
  h1 { font-size: 1.5rem; }
  th, td { padding-right: 0.8rem; }
}
@media print {
  :root { --page: #ffffff; }
  html { font-size: 9pt; }
  h1, h2, h3, h2 + p { break-after: avoid; }
  .curves, tr { break-inside: avoid; }
  section { border: 0; padding: 0; }
  .bar, .bar i, .bar b { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
