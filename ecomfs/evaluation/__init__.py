"""Predictions to metrics, baselines, suites: the one bridge to ``ecomfs_eval``."""
