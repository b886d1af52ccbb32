"""How a report looks: on a screen, at a phone's width, in the dark and on paper."""

CSS = """
:root { color-scheme: light dark; --ink: #1c2024; --quiet: #5c6670; --line: #d9dee3; --paper: #fff;
  --wash: #f4f6f8; --link: #00589c; --score: #0072b2; --good: #00664a; --part: #7a5200;
  --bad: #a33b00; --alarm: #a33b00; --alarm-wash: #fdf0e8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8eb; --quiet: #9aa5af; --line: #39424a;
  --paper: #14181b; --wash: #1d2327; --link: #7cbcf0; --score: #56b4e9; --good: #4cc9a0;
  --part: #e0b04a; --bad: #f0936a; --alarm: #f0936a; --alarm-wash: #33211a; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 54rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "Liberation Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 3.2rem 0 .8rem; padding-top: .9rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 2rem 0 .5rem; }
p, ul { margin: .7rem 0; max-width: 42rem; }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
a { color: var(--link); }
header p { color: var(--quiet); margin: .6rem 0 0; }
.eyebrow { font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; margin: 0 0 .4rem; }
.stamp { border-left: .3rem solid var(--alarm); background: var(--alarm-wash); padding: .8rem 1rem;
  margin: 1.2rem 0; max-width: none; font-weight: 600; }
.note { color: var(--quiet); font-size: .92rem; }
nav { margin: 1.6rem 0; padding: .9rem 1.1rem; background: var(--wash); border-radius: .4rem; }
nav ol { columns: 13rem; column-gap: 2rem; margin: 0; padding: 0; list-style: none; }
nav li { margin: 0; break-inside: avoid; }
nav a { text-decoration: none; display: inline-block; padding: .12rem 0; }
nav a:hover { text-decoration: underline; }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem;
  margin: 1.5rem 0; padding: 0; }
.headline div { border: 1px solid var(--line); border-radius: .4rem; padding: .8rem .9rem; }
.headline dt { color: var(--quiet); font-size: .85rem; line-height: 1.35; }
.headline dd { margin: .2rem 0 0; font-variant-numeric: tabular-nums; }
.headline dd.big { font-size: 1.7rem; line-height: 1.2; font-weight: 600; }
.headline dd.span { color: var(--quiet); font-size: .9rem; }
dl.facts { display: grid; grid-template-columns: minmax(8rem, 13rem) 1fr; margin: 1rem 0; }
dl.facts dt, dl.facts dd { margin: 0; padding: .45rem 0; border-bottom: 1px solid var(--line); }
dl.facts dt { color: var(--quiet); padding-right: 1rem; } dl.facts dd { min-width: 0; }
figure { margin: 1.4rem 0; } figcaption { color: var(--quiet); font-size: .9rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: .3rem;
  border: 1px solid var(--line); margin-bottom: .4rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .92rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: .4rem; }
th, td { text-align: left; padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; } tbody th { font-weight: 400; } thead th { border-bottom-width: 2px; }
td.number { white-space: nowrap; }
td small { display: block; color: var(--quiet); font-size: .82rem; }
td.bar { min-width: 9rem; vertical-align: middle; }
.bar i { display: block; position: relative; height: .8rem; background: linear-gradient(var(--line),
  var(--line)) center / 100% 1px no-repeat; }
.bar i::before { content: ""; position: absolute; top: .28rem; height: .24rem; border-radius: .1rem;
  left: calc(var(--low) * 100%); width: calc((var(--high) - var(--low)) * 100%); min-width: 2px;
  background: var(--score); opacity: .5; }
.bar i::after { content: ""; position: absolute; top: .05rem; width: .2rem; height: .7rem;
  left: calc(var(--value) * 100% - .1rem); border-radius: .1rem; background: var(--score); }
pre { background: var(--wash); padding: .8rem 1rem; border-radius: .4rem; overflow-x: auto; }
code, pre { font: .88rem/1.55 ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono",
  monospace; }
.hash { font: .76rem/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.item { display: grid; grid-template-columns: 2.6rem 1fr auto; gap: 0 .8rem; padding: .6rem 0;
  border-bottom: 1px solid var(--line); }
.item b { font-weight: 600; } .item p { grid-column: 2 / -1; margin: .15rem 0 0; }
.item .answer { font-size: .82rem; white-space: nowrap; font-weight: 600; }
.reported { color: var(--good); } .partly { color: var(--part); } .not-done { color: var(--bad); }
.not-applicable { color: var(--quiet); }
footer { margin-top: 3rem; color: var(--quiet); font-size: .9rem; }
@media (max-width: 34rem) { figure.wide img { max-width: none; width: 46rem; }
  body { padding: 1.4rem 1rem 3rem; } h1 { font-size: 1.5rem; }
  dl.facts { grid-template-columns: 1fr; } dl.facts dt { border: 0; padding-bottom: 0; }
  dl.facts dd { padding-top: .1rem; }
  .item { grid-template-columns: 2.2rem 1fr; } .item .answer { grid-column: 2; }
  .headline { grid-template-columns: 1fr 1fr; } .headline dd.big { font-size: 1.45rem; } }
@media print { :root { --ink: #000; --paper: #fff; --wash: #f4f6f8; --line: #bbb; --quiet: #444;
  --link: #000; --score: #0072b2; --alarm: #a33b00; --alarm-wash: #fff; }
  html { font-size: 10pt; } body { max-width: none; padding: 0; } nav { display: none; }
  td.bar { min-width: 5rem; }
  h2, h3, caption { break-after: avoid; } figure, .item, tr, .headline { break-inside: avoid; }
  .wide { overflow: visible; } table { font-size: 8.5pt; } figure img { max-height: 18cm; }
  @page { margin: 18mm 16mm; } }
"""
