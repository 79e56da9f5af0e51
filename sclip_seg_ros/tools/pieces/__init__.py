"""Work in pieces: flags, engines, finished frames on disk, and where pieces meet."""
