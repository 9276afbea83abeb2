"""An example of a package with a data plugin."""
