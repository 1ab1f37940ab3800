"""Developing models: search, evaluation, and the gate to champion."""
