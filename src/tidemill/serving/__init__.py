"""Serving: graphs behind HTTP, in worker processes that change models without losing a request."""
