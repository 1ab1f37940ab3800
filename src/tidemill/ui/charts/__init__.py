"""Charts as SVG text: pure functions, with titles and links, readable without scripts."""
