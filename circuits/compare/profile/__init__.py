"""What can be read at each stage of a model, and from which stage on it is lost."""
