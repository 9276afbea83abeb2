"""Scores every job and every distinct base on the same rows, in the same way."""
