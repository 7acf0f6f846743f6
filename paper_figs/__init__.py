"""Figures and the report page, from records alone."""
