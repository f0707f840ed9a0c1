"""Libraries that run a model, behind one narrow protocol."""
