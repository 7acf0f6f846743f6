"""The margins of a network, and the Gaussian model that is fitted to them."""
