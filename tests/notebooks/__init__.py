"""Executes the notebooks in `notebooks/` and holds their outputs against those saved.

`python -m tests.notebooks [NAME ...]` says what differs; with `--write` it saves the
outputs of today. A cell tagged `timings` must run and show outputs of the same kinds.
Of how things look nothing is compared: of an image only that it is there, of HTML no
style sheet.
"""
