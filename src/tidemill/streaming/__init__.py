"""The service that reads brokers: `tidemill features stream`."""
