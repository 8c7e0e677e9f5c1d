"""Every function here returns a figure; display.show puts it on a page."""
