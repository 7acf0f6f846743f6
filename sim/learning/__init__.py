"""What is learnt from samples: biases and thresholds."""
