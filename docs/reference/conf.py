"""Of `bash tools/docs.sh`: a page for each package, with the names in its `__all__`."""

project = "tfdgm"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary"]
templates_path = ["_templates"]
html_theme_options = {"page_width": "80em", "sidebar_width": "12em"}
autodoc_default_options = {"members": True, "show-inheritance": True}


def setup(app):
    app.connect("autodoc-process-docstring", as_it_stands)


def as_it_stands(app, what, name, obj, options, lines):
    """Docstrings are plain text, with formulas and tables in columns: they are shown as they stand, but those of modules."""
    if what != "module" and any(lines):
        lines[:] = ["::", "", *(f"    {line}" for line in lines), ""]
