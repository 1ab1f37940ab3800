"""Definitions as users write them: frozen descriptions, without effect until they are applied."""
