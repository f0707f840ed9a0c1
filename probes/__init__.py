"""What is represented, and where attention goes."""
