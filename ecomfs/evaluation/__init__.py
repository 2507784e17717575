"""Predictions to metrics and baselines: the one bridge to ``ecomfs_eval``."""
