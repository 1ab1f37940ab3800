"""Codecs: the languages clients speak, each over the same data plane."""
