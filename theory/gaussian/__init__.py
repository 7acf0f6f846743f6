"""Two Gaussian classes: optimal and fair linear classifiers and their errors, in closed form."""
