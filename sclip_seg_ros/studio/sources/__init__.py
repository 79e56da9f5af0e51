"""What there is to look at: photos, films, recordings, pictures from a browser."""
