"""A depth camera in a rendered room, and a consumer that makes a costmap of its labels."""
