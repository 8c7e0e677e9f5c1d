"""Labelled galaxies in, splits and batches out; pictures enter by one door, simulated ones where none are at hand."""
