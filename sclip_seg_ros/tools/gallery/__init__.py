"""See what the stages do: feature maps, attention and labels of one image on labelled sheets."""
