"""Command-line programs: demo, segmentation of files, evaluation, training and benchmark."""
