"""Class-wise robustness of anybody's model: what it does to whom, how sure that is, how strong the attack was."""
