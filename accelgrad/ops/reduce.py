"""Reductions: sum, mean, max, var and their kin."""
