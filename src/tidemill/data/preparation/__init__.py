"""Fitted preparation: each kind as what it learns from rows, and the expressions that apply it to any row."""
