"""The failures of the gallery, one module for each place where things go wrong."""
