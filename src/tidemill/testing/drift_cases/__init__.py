"""The case runner of monitoring: `python -m tidemill.testing.drift_cases FILE.json`.

It computes the expected keys of every case from its input alone and compares them. Cases are recognised by the keys of
their input, never by their names.
"""
