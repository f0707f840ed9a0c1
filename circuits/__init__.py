"""What computes it (one model), and how two models differ (`circuits.compare`)."""
