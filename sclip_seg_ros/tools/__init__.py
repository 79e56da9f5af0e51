"""Command-line programs: segmentation of files and recordings, benchmark, doctor and more."""
