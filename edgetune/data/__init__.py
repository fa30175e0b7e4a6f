"""Rows of data: files in, checked rows out."""
