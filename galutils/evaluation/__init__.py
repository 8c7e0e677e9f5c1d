"""Arrays in, numbers with intervals out: is a difference real, are probabilities honest, are labels right."""
