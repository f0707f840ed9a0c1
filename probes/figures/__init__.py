"""Figures of what is represented and where attention goes."""
