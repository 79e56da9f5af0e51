"""What a robot never needs: rendered scenes, training and evaluation of the embedded models."""
