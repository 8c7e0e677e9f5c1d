"""The supervised loop and DINO's, both resumable."""
