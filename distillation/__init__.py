"""Makes the models: debias, distil, remedy."""
