"""Whether this computer is fit: checks with remedies, and what each quality level takes."""
