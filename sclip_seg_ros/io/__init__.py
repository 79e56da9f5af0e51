"""What goes in and out, for the node and the programs alike: pixels, pictures, files, names."""
