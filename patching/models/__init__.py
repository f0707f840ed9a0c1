"""Models: names and folders become models, and models become places to read and write."""
