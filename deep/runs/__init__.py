"""A run: its settings and flags, its folder, what it leaves, and how that is read back."""
