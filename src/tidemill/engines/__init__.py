"""Who runs the work: this machine, Ray, Dask or Spark."""
