"""Placing elements by index tensors."""
