#!/usr/bin/env python3
"""A station behind a stream port, in the framing of QEMU's -netdev stream:

    stream_client.py SOCKET MAC IP

connects to the port's socket and answers ARP requests and pings until the
switch hangs up."""
import socket, struct, sys

def answer(f, mac, ip):
    """Turn the frame f into the answer to it, if there is one."""
    if f[12:14] == b"\x08\x06" and f[21] == 1 and f[38:42] == ip:  # ARP request
        f[21], f[22:42] = 2, mac + ip + f[22:32]
    elif f[12:14] == b"\x08\x00" and f[23] == 1 and f[34] == 8 and f[30:34] == ip:  # echo request
        f[34], f[26:34] = 0, f[30:34] + f[26:30]
        total = struct.unpack_from(">H", f, 36)[0] + 0x0800  # type 8 has become 0
        struct.pack_into(">H", f, 36, (total + (total >> 16)) & 0xffff)
    else:
        return None
    f[0:12] = f[6:12] + mac
    return f

if __name__ == "__main__":
    mac, ip = bytes.fromhex(sys.argv[2].replace(":", "")), socket.inet_aton(sys.argv[3])
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    wire = s.makefile("rwb")
    while len(length := wire.read(4)) == 4:
        if f := answer(bytearray(wire.read(struct.unpack(">I", length)[0])), mac, ip):
            wire.write(struct.pack(">I", len(f)) + f)
            wire.flush()
