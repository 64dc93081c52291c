"""The child process: everything that touches FFmpeg. It has no sockets, no credentials and no files, only two pipes.

`wire` is what goes over them; `client` is the parent's end; `__main__` is the child's, with `lanes` (samples that the
parent found) and `media`, `search`, `frames` (files that FFmpeg's own demuxers take, read through the parent).
"""
