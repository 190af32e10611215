"""How the page of a report looks, in light and in dark."""

_LIGHT = """
--surface: #fff; --text: #1b1f27; --soft: #5a6270; --line: #e3e6ec; --rail: #f0f2f6;
--accent: #2857a4; --pale: #c3d4ee; --spent: #c0504d;
--system: #23398a; --tools: #969ec2; --examples: #4c420b; --retrieved: #5d99fa;
--history: #9c8118; --question: #7d3556; --output: #d57f78;
"""
_DARK = """
--surface: #15171b; --text: #e8eaee; --soft: #a2aab8; --line: #2c3038; --rail: #22262d;
--accent: #82b1f0; --pale: #2f4566; --spent: #e58f7b;
--system: #406ac7; --tools: #8f9e76; --examples: #f3ffe9; --retrieved: #82c9ea;
--history: #efd073; --question: #82597b; --output: #9d5110;
"""
# The parts of a prompt differ by a CIELAB distance of 30 or more in normal, protan,
# deutan and tritan sight (Machado et al. 2009), and by 2.6:1 or more from the surface.

_PARTS = "\n".join(
    f".lean .{name} {{ fill: var(--{name}); background: var(--{name}); }}"
    for name in (
        *("system", "tools", "examples", "retrieved", "history", "question", "output"),
        *("spent", "rail"),
    )
)

CSS = f"""
.lean {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ .lean {{ {_DARK} }} .lean-page {{ background: #15171b; }} }}
.lean-page {{ margin: 0; }}
.lean {{
  box-sizing: border-box; max-width: 1120px; margin: 0 auto; padding: 48px 24px 64px;
  background: var(--surface); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums;
}}
.lean h1 {{ margin: 0; font-size: 22px; font-weight: 650; letter-spacing: -0.01em; }}
.lean h2 {{ margin: 0 0 16px; font-size: 16px; font-weight: 600; }}
.lean p {{ margin: 8px 0 0; }}
.lean .lead, .lean .note {{ color: var(--soft); }}
.lean .note {{ font-size: 13px; }}
.lean section {{ margin-top: 48px; padding-top: 24px; border-top: 1px solid var(--line); }}
.lean .figures {{ display: flex; flex-wrap: wrap; gap: 24px 48px; margin: 32px 0 24px; }}
.lean .figures dt {{ color: var(--soft); font-size: 13px; }}
.lean .figures dd {{ margin: 0; }}
.lean .figures dt + dd {{ font-size: 28px; line-height: 1.3; letter-spacing: -0.02em; }}
.lean .columns {{ display: grid; grid-template-columns: minmax(0, 1fr); gap: 24px 56px; }}
@media (min-width: 900px) {{
  .lean .columns {{ grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); }}
}}
.lean svg {{ display: block; overflow: hidden; }}
.lean text {{ fill: var(--text); font-size: 14px; }}
.lean .value {{ text-anchor: end; fill: var(--soft); }}
{_PARTS}
.lean .solid {{ fill: var(--accent); background: var(--accent); }}
.lean .pale {{ fill: var(--pale); background: var(--pale); }}
.lean .legend {{
  display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 16px 0 0; padding: 0;
  list-style: none;
}}
.lean .legend li {{ display: flex; align-items: baseline; gap: 8px; }}
.lean .key {{ width: 10px; height: 10px; border-radius: 2px; }}
.lean .scroll {{ overflow-x: auto; }}
.lean .scroll:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 4px; }}
.lean table {{ width: 100%; border-collapse: collapse; font-size: 14px; }}
.lean th, .lean td {{
  padding: 7px 0 7px 20px; border-bottom: 1px solid var(--line); text-align: right;
  font-weight: 400; white-space: nowrap; background: none;
}}
.lean th:first-child {{ padding-left: 0; }}
.lean th.text, .lean td.text, .lean th[scope="row"] {{ text-align: left; }}
.lean thead th {{ color: var(--soft); font-size: 13px; }}
.lean th[scope="row"] {{ white-space: normal; overflow-wrap: anywhere; min-width: 130px; }}
"""
