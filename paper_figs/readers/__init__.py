"""What figures draw, read from records: simulations, samples and features."""
