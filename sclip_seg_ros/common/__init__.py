"""What every floor may use; nothing here imports beyond the standard library and NumPy."""
