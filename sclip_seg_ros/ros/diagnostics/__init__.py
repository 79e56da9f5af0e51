"""What /diagnostics says, and the thread that says it."""
