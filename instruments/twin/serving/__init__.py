"""A simulated bench on the network: each instrument behind the interfaces that clients of a real one use.

`pace` relates the bench's clock to the wall's, `instrument` is one instrument as several clients share it, `sockets`,
`vxi11`, `hislip` and `serial_port` are the interfaces, `server` puts them together. Everything runs in one thread: the
bench is one world, and a message is one step of it. Grammar and physics are elsewhere; a client's wire is all there is
here.
"""
