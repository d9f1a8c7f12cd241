"""Shapes: views, joins and splits."""
