"""How fast Tidemill is, beside the least that has to be done anyway. `python -m bench --help`."""
