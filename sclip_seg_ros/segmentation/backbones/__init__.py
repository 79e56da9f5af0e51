"""What an image tower gives: dense tokens, by one of several attention rules."""
