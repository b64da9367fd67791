"""The command line, `tfdgm` or `python -m tfdgm`: one file per command."""
