"""Serving: the scheduler behind the protocols that clients have."""
