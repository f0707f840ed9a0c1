"""Several seeds of one recipe, pooled into a verdict about the recipe."""
