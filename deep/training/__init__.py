"""The epoch loop: recipe, state, health and what a person sees of it."""
