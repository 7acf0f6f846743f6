"""What makes a theorem checkable: statements, symbolic forms, certificates, simulations."""
