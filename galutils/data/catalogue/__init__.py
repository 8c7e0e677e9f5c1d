"""What people have of their galaxies, read in bounded memory: tables, what their columns mean, classes."""
