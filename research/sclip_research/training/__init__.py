"""What training programs share: pools of rendered scenes, query sampling, losses."""
