"""Picking elements by value or by flat index."""
