"""The batch runner on a Ray cluster."""
