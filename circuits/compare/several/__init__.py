"""One teacher and several students: a page for each, and one that ranks them."""
