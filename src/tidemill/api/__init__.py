"""The REST interface: translation between HTTP and the use cases of the platform, nothing else."""
