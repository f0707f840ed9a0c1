"""Which head of the student is which head of the teacher, if that can be said at all.

See `circuits.compare.alignment.align`.
"""
