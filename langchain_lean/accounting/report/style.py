"""How the page of a report looks, in light and in dark."""

from collections.abc import Iterable, Mapping

# The parts of a prompt differ by a CIELAB distance of 26 or more in normal, protan,
# deutan and tritan sight (matrices of Machado, Oliveira and Fernandes, 2009), and by a
# contrast of 2.6:1 or more from the surface.
COLORS = {
    "surface": "#fff",
    "text": "#1b1f27",
    "soft": "#5a6270",
    "line": "#e3e6ec",
    "rail": "#f0f2f6",
    "accent": "#2857a4",
    "pale": "#9dbae6",
    "spent": "#c0504d",
    "rest": "#a9b0bd",
    "system": "#23398a",
    "tools": "#969ec2",
    "examples": "#4c420b",
    "retrieved": "#5d99fa",
    "history": "#9c8118",
    "question": "#7d3556",
    "output": "#d57f78",
}
"""The colors of a light page, by name."""

_DARK = {
    "surface": "#15171b",
    "text": "#e8eaee",
    "soft": "#a2aab8",
    "line": "#2c3038",
    "rail": "#22262d",
    "accent": "#82b1f0",
    "pale": "#4a6c9b",
    "spent": "#e58f7b",
    "rest": "#6b7483",
    "system": "#406ac7",
    "tools": "#8f9e76",
    "examples": "#f3ffe9",
    "retrieved": "#82c9ea",
    "history": "#efd073",
    "question": "#82597b",
    "output": "#9d5110",
}
_FILLS = [c for c in COLORS if c not in ("surface", "text", "soft", "line")]
_FILLED = "\n".join(
    f".lean .{name} {{ fill: var(--{name}); background: var(--{name}); }}"
    for name in _FILLS
)

# A notebook's theme need not be what its reader's system prefers: JupyterLab and its
# exports, VS Code, Colab and Sphinx each say on the page which one it is.
_LIGHT_PAGES = (
    *('[data-jp-theme-light="true"]', '[data-theme="light"]', '[theme="light"]'),
    *(".vscode-light", ".vscode-high-contrast-light"),
)
_DARK_PAGES = (
    *('[data-jp-theme-light="false"]', '[data-theme="dark"]', '[theme="dark"]'),
    *(".vscode-dark", ".vscode-high-contrast:not(.vscode-high-contrast-light)"),
)


def _tokens(scheme: str, colors: Mapping[str, str]) -> str:
    named = "".join(f" --{name}: {color};" for name, color in colors.items())
    return f" color-scheme: {scheme};{named} "


def _inside(pages: Iterable[str]) -> str:
    return ", ".join(f".lean:is({page} *)" for page in pages)


_RULES = f"""
.lean, .lean-page {{{_tokens("light", COLORS)}}}
@media (prefers-color-scheme: dark) {{
.lean, .lean-page {{{_tokens("dark", _DARK)}}}
}}
{_inside(_LIGHT_PAGES)} {{{_tokens("light", COLORS)}}}
{_inside(_DARK_PAGES)} {{{_tokens("dark", _DARK)}}}
.lean-page {{ margin: 0; background: var(--surface); }}
.lean {{
  box-sizing: border-box; max-width: 1120px; margin: 0; padding: 20px 24px 28px;
  background: var(--surface); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}}
.lean-page .lean {{ margin: 0 auto; padding: 48px 24px 64px; }}
.lean h1, .lean h2 {{ margin: 0; line-height: 1.3; text-wrap: balance; }}
.lean h1 {{ font-size: 24px; font-weight: 650; letter-spacing: -0.01em; }}
.lean h2 {{ margin-bottom: 16px; font-size: 17px; font-weight: 600; }}
.lean p {{ margin: 8px 0 0; max-width: 75ch; text-align: start; }}
.lean .lead, .lean .note {{ color: var(--soft); }}
.lean .note {{ font-size: 13px; }}
.lean section {{
  margin-top: 48px; padding-top: 28px; border-top: 1px solid var(--line);
}}
.lean .figures {{ display: flex; flex-wrap: wrap; gap: 24px; margin: 32px 0 24px; }}
.lean .figures > div {{ flex: 1 1 120px; }}
.lean dt, .lean dd {{ float: none; width: auto; margin: 0; padding: 0; }}
.lean dt {{ color: var(--soft); font-size: 13px; font-weight: 400; }}
.lean dt + dd {{
  font-size: 30px; line-height: 1.35; letter-spacing: -0.02em; white-space: nowrap;
}}
.lean .columns {{
  display: flex; flex-wrap: wrap; gap: 28px 48px; align-items: start;
}}
.lean .columns > * {{ flex: 3 1 480px; min-width: 0; }}
.lean .columns > :first-child {{ flex: 2 1 352px; }}
.lean svg {{ display: block; max-width: none; overflow: hidden; }}
.lean .band rect {{ stroke: var(--surface); stroke-width: 1.5; }}
.lean text {{ fill: var(--text); font-size: 14px; }}
.lean .value {{ text-anchor: end; }}
{_FILLED}
.lean .legend {{
  display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 14px 0 0; padding: 0;
  list-style: none; font-size: 14px;
}}
.lean .legend li {{ display: flex; align-items: baseline; gap: 7px; }}
.lean .parts {{
  display: grid; grid-template-columns: repeat(auto-fill, minmax(100px, 1fr));
  gap: 10px 8px; font-size: 13px;
}}
.lean .parts li {{ display: grid; grid-template-columns: 10px auto; gap: 0 7px; }}
.lean .parts .note {{ grid-column: 2; font-size: 12px; white-space: nowrap; }}
.lean .key {{ width: 10px; height: 10px; border-radius: 2px; }}
.lean .scroll {{
  overflow-x: auto;
  background:
    linear-gradient(to left, var(--surface) 50%, transparent) right / 48px local,
    linear-gradient(to left, var(--line), transparent) right / 16px scroll;
  background-repeat: no-repeat;
}}
.lean > .scroll {{ margin: 24px 0; }}
.lean .scroll:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 4px; }}
.lean table {{
  width: 100%; margin: 0; border: 0; border-collapse: collapse; table-layout: auto;
  color: inherit; font-size: 14px;
}}
.lean thead, .lean tr {{ border: 0; background: none; }}
.lean th, .lean td {{
  padding: 7px 0 7px 16px; border: 0; border-bottom: 1px solid var(--line);
  text-align: right; font-weight: 400; white-space: nowrap; line-height: 1.5;
  vertical-align: baseline;
}}
.lean thead th {{ color: var(--soft); font-size: 13px; padding-top: 0; }}
.lean .name, .lean .prose, .lean .remark, .lean tbody th {{ text-align: left; }}
.lean td.prose, .lean td.remark {{ color: var(--soft); font-size: 13px; }}
.lean td.prose {{ white-space: normal; min-width: 104px; }}
.lean th:first-child {{ padding-left: 0; text-align: left; }}
.lean tbody th {{ white-space: normal; overflow-wrap: anywhere; min-width: 144px; }}
@media (max-width: 520px) {{
.lean {{ padding: 16px 16px 24px; }}
.lean-page .lean {{ padding: 32px 16px 48px; }}
.lean table {{ font-size: 12px; }}
.lean thead th {{ font-size: 11px; }}
.lean th, .lean td {{ padding-left: 8px; }}
.lean tbody th {{ min-width: 84px; }}
}}
"""

# A notebook has rules for the elements of every output. An id that no element has makes
# the rules above outweigh them.
CSS = _RULES.replace(".lean ", ".lean:not(#nothing) ")
