"""Hugging Face folders through transformers."""
