"""What ROS adds to the doctor: installation, middleware, buffers, cameras."""
