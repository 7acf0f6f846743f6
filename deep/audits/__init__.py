"""Audits of anybody's model: which class is the worst, how sure that is, how strong the attack was."""
