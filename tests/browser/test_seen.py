"""What is wrong with a page is found: each of these pages has one fault."""

import pytest

PAGE = '<!DOCTYPE html><meta charset="utf-8"><body style="font: 16px sans-serif">{}'
SOUND = [
    "<p>Black on white.</p>",
    '<p style="color: #767676">The lightest gray that is dark enough.</p>',
    '<p style="font-size: 11px">The smallest letters.</p>',
    '<div style="width: 90px; overflow: auto; white-space: nowrap" tabindex="0">'
    "A line that a box of its own scrolls.</div>",
    '<div style="background: #222; color: #fff">White on black.</div>',
    '<p hidden style="font-size: 2px">Not shown.</p>',
    '<svg width="300" height="40"><rect width="300" height="40" fill="#123"></rect>'
    '<text y="20" fill="#fff">White on blue.</text></svg>',
    '<img alt="" src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAA'
    'ICTAEAOw==">',
]
NARROW = "width: 90px; white-space: nowrap;"
BROKEN = {
    "error: a complaint": '<script>console.error("a complaint")</script>',
    "warning: a doubt": '<script>console.warn("a doubt")</script>',
    "a bug": '<script>throw new Error("a bug")</script>',
    "asked for http://127.0.0.1:9/a.png": '<img alt="" src="http://127.0.0.1:9/a.png">',
    "asked for https://example.org/a.css": '<link rel="stylesheet" '
    'href="https://example.org/a.css">',
    "asked for https://example.org/a.woff": "<style>@font-face { font-family: a; "
    'src: url("https://example.org/a.woff") } p { font-family: a }</style><p>Text</p>',
    "asked for https://example.org/told": "<script>"
    'fetch("https://example.org/told").catch(() => 0)</script>',
    "the page scrolls sideways": '<div style="width: 1500px; height: 9px"></div>',
    '"Too long for its box" is cut off': f'<div style="{NARROW} overflow: hidden">'
    "Too long for its box</div>",
    '"Too long to be shown" is cut off': f'<div style="{NARROW} overflow: hidden; '
    'text-overflow: ellipsis">Too long to be shown</div>',
    '"Too high for its box" is cut off': '<div style="height: 9px; overflow: hidden">'
    "Too high for its box</div>",
    '"Too long for its plot" is cut off': '<svg width="50" height="40">'
    '<text y="20">Too long for its plot</text></svg>',
    '"Too long for its part" is cut off': '<svg width="500" height="40">'
    '<svg width="10%"><text y="20">Too long for its part</text></svg></svg>',
    '"Left" is outside of the page': '<p style="position: absolute; left: -9px">Left',
    '"Over" is outside of the page': '<p style="position: absolute; top: -40px">Over',
    '"Right" is outside of the page': '<p style="position: fixed; left: 1380px">Right',
    '"One" overlaps': '<p style="height: 4px; margin: 0">One</p>Other',
    '"Uno" overlaps': '<svg width="300" height="40"><text x="5" y="20">Uno</text>'
    '<text x="20" y="20">Another</text></svg>',
    "has letters of 10.0 px": '<p style="font-size: 10px">Small</p>',
    "has letters of 8.0 px": '<svg width="200" viewBox="0 0 400 80">'
    '<text y="40">Shrunk</text></svg>',
    '"Gray" has a contrast of 4.48': '<p style="color: #777">Gray</p>',
    '"Faint" has a contrast': '<p style="opacity: 0.4">Faint</p>',
    '"Thin" has a contrast': '<p style="color: rgb(0 0 0 / 40%)">Thin</p>',
    '"On blue" has a contrast': '<p style="background: #23398a">On blue</p>',
    '"On a gradient" has a contrast': '<p style="background: linear-gradient(to left, '
    '#fff, #333)">On a gradient</p>',
    '"On a shape" has a contrast': '<svg width="300" height="40"><rect width="300" '
    'height="40" fill="#123"></rect><text y="20">On a shape</text></svg>',
    "scrolls, but no key reaches it": f'<div style="{NARROW} overflow: auto">'
    "A line that only a mouse scrolls.</div>",
}


def seen(chromium, tmp_path, body, **options):
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(body), encoding="utf-8")
    return chromium.see(page, **options)


def test_a_page_without_faults_has_none(chromium, tmp_path):
    assert seen(chromium, tmp_path, "".join(SOUND)).faults == ()


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_is_found(chromium, tmp_path, fault):
    faults = seen(chromium, tmp_path, BROKEN[fault]).faults
    assert [found for found in faults if fault in found]


def test_only_what_is_asked_about_must_be_legible(chromium, tmp_path):
    body = '<p style="color: #eee">Theirs</p><div class="ours">Ours</div>'
    assert seen(chromium, tmp_path, body, within=".ours").faults == ()


def test_a_dark_scheme_is_taken_for_dark(chromium, tmp_path):
    body = '<meta name="color-scheme" content="light dark"><p style="color: #333">Text'
    assert seen(chromium, tmp_path, body, scheme="light").faults == ()
    assert seen(chromium, tmp_path, body, scheme="dark").illegible
