"""Embedding and one-hot."""
