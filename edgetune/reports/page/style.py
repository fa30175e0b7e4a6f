"""The page's looks: light and dark as the reader's system asks, one column on a phone, ink on white in print."""

LIGHT = ["#0b63c4", "#c2410c", "#047857", "#a21caf", "#8a6100", "#be123c", "#4f46e5", "#475569"]
DARK = ["#6cb2ff", "#ff9d6b", "#4fd6a5", "#ee8cf5", "#e3bd55", "#ff8fa3", "#a5a8ff", "#b3c0d1"]


def colours(values: list[str]) -> str:
    return "".join(f"--c{i}:{value};" for i, value in enumerate(values))


STYLE = (
    """
:root{color-scheme:light dark;--page:#fff;--ink:#16202c;--soft:#55606e;--line:#d9dfe6;--panel:#f4f6f9;--accent:#0b63c4;
--tint:#eaf2fd;"""
    + colours(LIGHT)
    + """}
@media (prefers-color-scheme:dark){:root{--page:#11161d;--ink:#e8edf3;--soft:#a3afbd;--line:#323c49;--panel:#1a212b;
--accent:#6cb2ff;--tint:#17293f;"""
    + colours(DARK)
    + """}}
@media print{:root{color-scheme:light}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.2rem 1.4rem 4rem;max-width:68rem;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
-webkit-text-size-adjust:100%}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.6rem 0 .7rem}
p{margin:.5rem 0;max-width:46rem}
.lead,figcaption,.note{color:var(--soft)}
figcaption,.note{font-size:.9rem}
.advice{background:var(--tint);border-left:4px solid var(--accent);border-radius:0 6px 6px 0;padding:.9rem 1.2rem;
margin:1.6rem 0}
.advice h2{margin:0;font-size:1rem;color:var(--accent)}
.advice p{margin:.3rem 0 0;max-width:none}
.wide{overflow-x:auto}
.wide:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%}
th,td{padding:.5rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{font-size:.85rem;font-weight:600;color:var(--soft);border-bottom-width:2px;vertical-align:bottom}
.numbers td,.numbers thead th:not(:first-child){text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.numbers tbody th{position:sticky;left:0;background:var(--page);white-space:nowrap;font-weight:600}
.numbers tr.chosen>*{background:var(--tint)}
.numbers tr.base>*{color:var(--soft);font-weight:400}
.name{vertical-align:middle}
.badge{display:block;width:max-content;font-size:.72rem;font-weight:600;color:var(--accent);line-height:1.3}
.words{min-width:34rem}
.words th[scope=row]{width:9rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr));gap:1.6rem 2rem}
figure{margin:0;min-width:0}
figure>svg{display:block;width:100%;height:auto}
figcaption{margin-top:.3rem}
.legend{list-style:none;margin:0;padding:0;align-self:center}
.legend li{margin:.35rem 0}
.lead{max-width:none}
.swatch{vertical-align:middle;margin-right:.5rem;overflow:visible}
svg text{font-family:inherit;fill:var(--ink)}
.tick{font-size:13px;fill:var(--soft)!important}
.title{font-size:13.5px;fill:var(--soft)!important}
.label{font-size:14px;font-weight:600;paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}
.start{text-anchor:start}.middle{text-anchor:middle}.end{text-anchor:end}
.grid{stroke:var(--line);stroke-width:1}
.axis,.mark{stroke:var(--soft);stroke-width:1}
.curve{fill:none;stroke:var(--c);stroke-width:2.4;stroke-linejoin:round}
.seed-curve{fill:none;stroke:var(--c);stroke-width:1;opacity:.35}
.spread{stroke:var(--c);stroke-width:2;opacity:.6}
.seed{fill:var(--c);opacity:.55}
.faint .mean{opacity:.45}.faint .seed,.faint .spread{opacity:.2}
.front{fill:none;stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 4}
.mean{fill:var(--c);stroke:var(--page);stroke-width:1.5}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.4rem;margin:.5rem 0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
details{margin-top:1rem}
summary{cursor:pointer;color:var(--accent)}
code,pre{font:.88em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--panel);border-radius:6px;padding:.8rem 1rem;overflow-x:auto}
@media (max-width:40rem){.tick,.title{font-size:15.5px}.label{font-size:15px}
body{padding:1.3rem 1rem 3rem}h1{font-size:1.4rem}th,td{padding:.45rem .5rem}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}
.words,.words tbody,.words tr,.words td,.words th{display:block;min-width:0;width:auto!important}
.words thead{display:none}.words tr{border-bottom:1px solid var(--line);padding:.6rem 0}
.words td,.words th{border:0;padding:.15rem 0}.words td::before{content:attr(data-label);display:block;
font-size:.8rem;font-weight:600;color:var(--soft)}}
"""
    + "".join(f".c{i}{{--c:var(--c{i})}}" for i in range(len(LIGHT)))
)
