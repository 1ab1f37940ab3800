"""Conformance suites, oracles and simulators, for backends inside and outside this package."""
