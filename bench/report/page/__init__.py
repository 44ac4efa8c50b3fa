"""The report page: all results in one HTML file that needs no network, and its plots as files for papers.

`settings` turns a table into the page's data, `charts` holds the plots (Vega-Lite), `render` puts the file
together, `figures` writes the plots as SVG and PNG.
"""
