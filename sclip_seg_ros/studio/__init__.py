"""A web page for choosing words by looking; `ros/programs/studio` reaches the live node."""
