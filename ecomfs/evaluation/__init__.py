"""Predictions to metrics and baselines: the only package that calls ``ecomfs_eval``."""
