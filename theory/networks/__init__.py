"""Theory applied to networks: margins that are Gaussian, first-order changes, two groups of classes."""
