"""The main job, end to end: camera, node and consumer in three processes, checked and pictured."""
