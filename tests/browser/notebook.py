"""Notebooks as pages."""

from base64 import b64encode

from IPython.core.formatters import DisplayFormatter
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.browser.chromium import Scheme

OUTPUTS = ".jp-OutputArea-output, .jp-MarkdownOutput"
"""What a notebook's author shows in it; the rest is JupyterLab's own."""

_NOTHING = "data:text/javascript,"


def notebook_of(text: str, **shown: object) -> NotebookNode:
    """A notebook with a cell for every value, as if it were the cell's last line.

    Args:
        text: The Markdown at its head.
        **shown: The values, by what stands in their cells.
    """
    cells = [new_markdown_cell(text)]
    for number, (code, value) in enumerate(shown.items(), 1):
        data, metadata = DisplayFormatter().format(value)
        for kind, content in data.items():
            if isinstance(content, bytes):  # as a kernel sends it
                data[kind] = b64encode(content).decode()
        options = {"data": data, "metadata": metadata, "execution_count": number}
        outputs = [new_output("execute_result", **options)]
        cells.append(new_code_cell(code, outputs=outputs, execution_count=number))
    return new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


def export(notebook: NotebookNode, theme: Scheme) -> str:
    """A notebook as JupyterLab shows it.

    Without what nbconvert has every page load from elsewhere: require.js and MathJax,
    which no notebook here needs.
    """
    exporter = HTMLExporter(
        template_name="lab",
        theme=theme,
        require_js_url=_NOTHING,
        mathjax_url=_NOTHING,
    )
    page, _ = exporter.from_notebook_node(notebook)
    return page
