"""Other data models: stable distributions, imbalance, Tsipras et al. (2019), several classes."""
