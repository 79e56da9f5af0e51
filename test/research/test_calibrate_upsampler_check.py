"""The table that the upsampler check's limits rest on."""

from __future__ import annotations

from sclip_research.calibrate_upsampler_check import CHANGES, calibrate, main


def test_rows_tell_harmless_changes_from_harmful_ones():
    names = ("none", "features interpolated", "no residual connection")
    cells = calibrate({name: CHANGES[name] for name in names}, range(2))
    assert tuple(row[0] for row in cells) == names
    none, interpolated, harmful = ([float(cell.split()[0]) for cell in row[1:]] for row in cells)
    assert none[1:] == [1.0, 0.0, 1.0, 0.0]
    assert interpolated[1:3] == [1.0, min(interpolated[2], 0.05)]
    assert harmful[0] < none[0] - 0.1                # mIoU
    assert harmful[2] > 0.2 and harmful[3] < 0.9     # drift, sharpness
    assert harmful[4] == 0                           # rooms recommended


def test_a_checkpoint_that_is_not_there_is_told_in_one_line(capsys):
    assert main(["--scenes", "1", "--loftup-source", "no-such.ckpt"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("calibrate_upsampler_check: ") and "no-such.ckpt" in output.err
    assert output.err.count("\n") == 1 and output.out == ""
