"""Two models side by side: what is represented at each stage, and where attention goes."""
