"""Reports of runs and studies as one self-contained page, from their files alone; put together by `document`."""
