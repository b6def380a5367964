"""Checks the performance budgets, each as a ratio of two things measured in one run."""
