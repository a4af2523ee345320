"""Measurements of the engine against its peers, in one run on one machine."""
