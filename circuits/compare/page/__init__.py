"""The page: its sections, the sentences that read figures, markup, style and scripts."""
