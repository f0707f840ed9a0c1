"""Tests that intervene on both models: removal, necessity, transplant, and where a change began.

What is chosen is chosen on one half of the quads and tested on the other; every test has controls
that should do nothing.
"""
