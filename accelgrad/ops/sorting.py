"""Sorting, searching and running totals."""
