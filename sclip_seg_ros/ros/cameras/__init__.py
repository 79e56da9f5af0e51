"""What belongs to a camera: subscription, outputs, counts."""
