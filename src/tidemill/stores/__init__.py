"""Where things are kept. Each kind of store is a small Protocol with one folder of backends, chosen by URL scheme."""
