"""The checks of the exercises: one module for each chapter, with a table named ``EXERCISES``."""
