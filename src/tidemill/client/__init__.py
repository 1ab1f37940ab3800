"""The SDK over HTTP: what a program asks of a running `tidemill up`."""
