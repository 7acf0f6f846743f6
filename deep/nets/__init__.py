"""Networks, and the same networks cheaper to attack."""
