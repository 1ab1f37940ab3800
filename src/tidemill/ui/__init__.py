"""The web pages: each answers one question, is a URL that holds its state, and is also JSON."""
