"""Whether the attack behind a run's errors is strong enough."""
