"""From a profile to notebooks, from notebooks to run directories, from those to one table of results."""
