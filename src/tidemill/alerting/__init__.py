"""Alerts, notifications, and when to retrain."""
