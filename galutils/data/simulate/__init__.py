"""Simulated galaxies: profiles of light, classes of galaxies, and cutouts of the sky."""
