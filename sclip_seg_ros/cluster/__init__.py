"""Much work in pieces, over one process or over machines; what a piece is about, others know."""
